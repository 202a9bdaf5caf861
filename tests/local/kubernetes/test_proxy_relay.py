"""A proxy on the loopback interface as pods see it, and the process that leads there."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.kubernetes import proxy_relay
from local.machine import proxies, relay
from local.machine.ranges import Ranges
from tests.ports import held_port
from tests.recording_proxy import RecordingProxy

RANGES = Ranges.parse("10.76.0.0/14")


def seen(**environment: str) -> dict[str, str]:
    return proxy_relay.seen_from_pods(proxies.completed(environment, ()) | environment, RANGES)


def test_a_proxy_elsewhere_is_the_same_from_a_pod(tmp_path):
    environment = {"https_proxy": "http://ann:hunter2@192.0.2.1:3128", "HOME": "/root"}
    found = seen(**environment)
    assert found["https_proxy"] == found["HTTPS_PROXY"] == environment["https_proxy"]
    assert "HOME" not in found
    assert proxy_relay.daemon(tmp_path, environment, RANGES) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.5.7", "[::1]"])
def test_one_on_the_loopback_interface_is_relayed(tmp_path, host):
    environment = {
        "http_proxy": f"http://ann:hunter2@{host}:3128",
        "https_proxy": f"{host}:3128",
        "all_proxy": f"socks5://{host}",
    }
    found = seen(**environment)
    ports = {f"{host}:1080": 20128, f"{host}:3128": 20129}
    assert found["HTTP_PROXY"] == "http://ann:hunter2@10.77.0.254:20129"
    assert found["HTTPS_PROXY"] == "http://10.77.0.254:20129"
    assert found["ALL_PROXY"] == "socks5://10.77.0.254:20128"
    daemon = proxy_relay.daemon(tmp_path, environment, RANGES)
    assert daemon is not None
    assert daemon.argv[2:] == [
        "10.76.0.0/14",
        *(f"10.77.0.254:{port}={place}" for place, port in ports.items()),
    ]


def test_without_a_proxy_there_is_nothing_to_relay(tmp_path):
    assert seen() == {}
    assert proxy_relay.daemon(tmp_path, {}, RANGES) is None


@contextmanager
def relayed(allowed: str, target: str):
    with held_port("127.0.0.1") as port:
        words = [sys.executable, Path(relay.__file__), allowed, f"127.0.0.1:{port}={target}"]
        with subprocess.Popen(words) as process:
            try:
                yield port
            finally:
                process.terminate()


def await_answer(port: int) -> int | None:
    """The status of an answer from the world, asked for through the relay; None: it hung up."""
    through = urllib.request.build_opener(
        urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{port}"})
    )
    until = time.monotonic() + 60
    while True:
        try:
            through.open("http://world.example/", timeout=60)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code
        except OSError as error:
            # Not listening yet.
            if "refused" not in str(error) or time.monotonic() > until:
                return None
            time.sleep(0.05)


def test_the_relay_leads_to_it():
    with RecordingProxy() as proxy, relayed("127.0.0.0/8", f"127.0.0.1:{proxy.port}") as port:
        assert await_answer(port) == 403
        assert proxy.hosts() == {"world.example"}


def test_others_are_turned_away():
    with RecordingProxy() as proxy, relayed("10.76.0.0/14", f"127.0.0.1:{proxy.port}") as port:
        assert await_answer(port) is None
        assert not proxy.asked


def test_a_proxy_that_is_away_ends_the_connection_and_not_the_relay():
    with (
        held_port("127.0.0.1") as away,
        relayed("127.0.0.0/8", f"127.0.0.1:{away}") as port,
    ):
        assert await_answer(port) is None
        assert await_answer(port) is None
