"""The process `proxy-relay`: pods reach a proxy of this machine's loopback interface through it.

Such proxies are common where one asks for a password (cntlm, px): they listen at 127.0.0.1, which
is another interface in a pod.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from ..machine import proxies, relay
from ..machine.processes import Daemon
from ..machine.ranges import Ranges

NAME = "proxy-relay"
_FILE = "relay.py"
_FIRST_PORT = 20128


def seen_from_pods(environment: Mapping[str, str], ranges: Ranges) -> dict[str, str]:
    """The proxy variables of this machine's environment as they lead to the same from a pod."""
    found = proxies.only(environment)
    for place, port in _ports(environment).items():
        for name, value in found.items():
            if proxies.is_url(name) and proxies.place(value) == place:
                found[name] = proxies.moved(value, f"{ranges.machine}:{port}")
    return found


def daemon(folder: Path, environment: Mapping[str, str], ranges: Ranges) -> Daemon | None:
    """The process; None where no proxy is on the loopback interface.

    Args:
        folder: of the cluster.
        environment: of this machine, completed.
        ranges: the cluster's addresses.
    """
    ports = _ports(environment)
    if not ports:
        return None
    pairs = [f"{ranges.machine}:{port}={place}" for place, port in ports.items()]
    # A copy: the process doesn't depend on what becomes of the checkout.
    file = folder / _FILE
    file.write_bytes(Path(relay.__file__).read_bytes())
    python = Path(sys.executable).resolve()
    return Daemon(NAME, [python, file, str(ranges.all), *pairs], folder, reads=[file])


def _ports(environment: Mapping[str, str]) -> dict[str, int]:
    """HOST:PORT of each proxy on the loopback interface -> where pods reach it."""
    places = {
        place
        for name, value in proxies.only(environment).items()
        if proxies.is_url(name) and (place := proxies.place(value)) and proxies.is_loopback(place)
    }
    return {place: _FIRST_PORT + number for number, place in enumerate(sorted(places))}
