"""HTTP proxies that the environment names, and what is never asked for through one.

Programs read the same variables by different rules: curl and gRPC want lower case, Go prefers upper
case and knows no ALL_PROXY, and in NO_PROXY only some understand a range of addresses. So each
variable is completed to what all of them understand.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

_SCHEMES = ("http_proxy", "https_proxy")
_PROXIES = (*_SCHEMES, "all_proxy", "grpc_proxy")
_EXCEPTIONS = ("no_proxy", "no_grpc_proxy")
_PORTS = {"https": 443, "socks5": 1080, "socks5h": 1080}
"""Of proxies that are named without one, by scheme; of others 80."""
_EVERYWHERE = ("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local")
"""Names and addresses of this machine and of Services, as all programs understand them."""


def completed(environment: Mapping[str, str], ours: Sequence[str]) -> dict[str, str]:
    """The variables to set beside `environment`, so that each program finds its own.

    Args:
        environment: a person's. What it has of NO_PROXY stays, in front.
        ours: addresses of the platform that a proxy is never asked for, and ranges of them.

    Returns:
        Name -> value; empty where no proxy is named.
    """
    named = _named(environment)
    if not any(name in named for name in _PROXIES):
        return {}
    for name in _SCHEMES:
        if name not in named and "all_proxy" in named:
            named[name] = named["all_proxy"]
    named["no_proxy"] = _merged(environment, ("no_proxy", "NO_PROXY"), ours)
    if "no_grpc_proxy" in named:
        # gRPC reads it in the place of the other one.
        named["no_grpc_proxy"] = _merged(environment, ("no_grpc_proxy",), ours)
    found = {}
    for name, value in named.items():
        found[name] = value
        found[name.upper()] = environment.get(name.upper()) or value
    # Which of the two counts depends on the program.
    found["NO_PROXY"] = found["no_proxy"]
    return {name: value for name, value in found.items() if environment.get(name) != value}


def exceptions(environment: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY, in both ways in which it is written, of an environment that was completed."""
    return {name: environment[name] for name in ("NO_PROXY", "no_proxy") if environment.get(name)}


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that names no proxy."""
    names = {*_PROXIES, *_EXCEPTIONS}
    return {name: value for name, value in environment.items() if name.lower() not in names}


def only(environment: Mapping[str, str]) -> dict[str, str]:
    """What an environment says of proxies."""
    rest = without(environment)
    return {name: value for name, value in environment.items() if name not in rest}


def with_scheme(value: str) -> str:
    """A proxy's URL, also where a variable names only HOST:PORT."""
    return value if "://" in value else f"http://{value}"


def is_url(name: str) -> bool:
    """Whether a variable of `only` names a proxy, and not what it isn't asked for."""
    return name.lower() in _PROXIES


def place(value: str) -> str:
    """HOST:PORT of a proxy as a variable names it, with a scheme or without; empty: of none."""
    try:
        parts = urlsplit(with_scheme(value))
        port = parts.port or _PORTS.get(parts.scheme, 80)
    except ValueError:
        return ""
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else ""


def moved(value: str, to: str) -> str:
    """A proxy's URL with another HOST:PORT."""
    parts = urlsplit(with_scheme(value))
    user, at, _ = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{user}{at}{to}"


def is_loopback(where: str) -> bool:
    """Whether a HOST:PORT is of this machine's loopback interface, be it by a name."""
    host, _, port = where.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def _named(environment: Mapping[str, str]) -> dict[str, str]:
    """Lower-case name -> value; where both are set, the lower-case one, as curl and Python do."""
    found = {}
    for name in (*_PROXIES, *_EXCEPTIONS):
        if value := environment.get(name) or environment.get(name.upper()):
            found[name] = with_scheme(value) if name in _PROXIES else value
    return found


def _merged(environment: Mapping[str, str], names: Sequence[str], ours: Sequence[str]) -> str:
    theirs = [
        word.strip()
        for name in names
        for word in environment.get(name, "").split(",")
        if word.strip()
    ]
    if "*" in theirs:
        # Python takes it for everything only if it stands alone.
        return "*"
    return ",".join(dict.fromkeys([*theirs, *_EVERYWHERE, *ours]))
