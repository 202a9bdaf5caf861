"""The gateway's port for Prometheus, in front of a real model server."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.gateway import monitoring
from tests.ports import held_ports
from tests.serving.conftest import served
from tests.serving.gateway.running import Gateway, band, running_gateway
from tests.serving_fixtures import running_server
from tests.waiting import eventually

TOKEN = "a-token-of-24-characters"


@dataclass
class Scraped:
    """A gateway, and what Prometheus sees of it."""

    gateway: Gateway
    port: int

    def samples(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Name -> label values -> value."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            text = answer.read().decode()
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values = tuple(value for name, value in sample.labels.items() if name != "le")
                found.setdefault(sample.name, {})[values] = sample.value
        return found

    def samples_after(self, *requests: tuple[str, str]) -> dict[str, dict[tuple[str, ...], float]]:
        """Return them once requests are counted, by path and code: a moment after their answers."""

        def counted() -> dict[str, dict[tuple[str, ...], float]] | None:
            found = self.samples()
            codes = found.get("dlstack_gateway_requests_total", {})
            times = found.get("dlstack_gateway_request_duration_seconds_count", {})
            are_all = all(
                min(codes.get(one, 0), times.get(one[:1], 0)) >= requests.count(one)
                for one in requests
            )
            return found if are_all else None

        found: dict[str, dict[tuple[str, ...], float]] = eventually(counted)
        return found


@pytest.fixture(scope="module")
def scraped(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """With a token, which Prometheus has not."""
    folder = tmp_path_factory.mktemp("monitoring")
    (folder / "token").write_text(TOKEN)
    (folder / "monitoring.config").write_text("prometheus_config { enable: true }")
    token = f"--token_file={folder / 'token'}"
    base = served(models, folder / "mnist", "mnist", 7)
    flags = [token, f"--monitoring_config_file={folder / 'monitoring.config'}"]
    with (
        held_ports(1) as [port],
        running_server(base, "mnist", flags) as server,
        running_gateway(server.rest_url, base, token, f"--metrics_port={port}") as gateway,
    ):
        yield Scraped(gateway, port)


def test_requests_are_counted_by_path_and_code(scraped: Scraped) -> None:
    call = scraped.gateway.call
    for path in ("/", "/web/page.css", "/made/up", "/made/up/too", "/v1/models/mnist"):
        call("GET", path, X_Auth_Token=TOKEN)
    call("GET", "/status")
    many = [("/", "200"), ("other", "404")] * 2
    found = scraped.samples_after(*many, ("/v1/models", "200"), ("/status", "401"))
    counted = found["dlstack_gateway_requests_total"]
    assert counted["other", "404"] == 2
    assert counted["/status", "401"] == 1
    assert counted["/v1/models", "200"] == 1
    assert {path for path, _ in counted} == {"/", "/healthz", "/status", "/v1/models", "other"}
    times = found["dlstack_gateway_request_duration_seconds_count"]
    assert times["other",] == 2


def test_the_model_server_s_numbers_come_with_them(scraped: Scraped) -> None:
    rows = b'{"instances": [' + b",".join([b"0"] * 784).join([b"[", b"]"]) + b"]}"
    path = "/v1/models/mnist:predict"
    assert scraped.gateway.call("POST", path, rows, X_Auth_Token=TOKEN)[0] == 200

    def over() -> dict[str, dict[tuple[str, ...], float]] | None:
        # What is held for it, and its count, a moment after its answer.
        found = scraped.samples()
        counted = found.get(":tensorflow:serving:request_count_total", {}).get(("mnist", "OK"), 0)
        held = found["dlstack_gateway_predictions"], found["dlstack_gateway_waiting_bytes"]
        return found if counted >= 1 and held == ({(): 0}, {(): 0}) else None

    # The same look: in another one a busy model server may be too late with its part.
    found = eventually(over)
    # The parser's name for a counter.
    assert found[":tensorflow:serving:request_count_total"]["mnist", "OK"] >= 1
    assert found["dlstack_gateway_model_server_up"] == {(): 1}
    assert found["dlstack_gateway_predictions"] == {(): 0}
    assert found["dlstack_gateway_predictions_limit"] == {(): 64}
    assert found["dlstack_gateway_waiting_bytes"] == {(): 0}
    assert found["dlstack_gateway_waiting_bytes_limit"][()] > 2**20


def test_without_its_model_server_it_tells_of_itself(tmp_path: Path) -> None:
    with (
        held_ports(2) as [port, silent],
        running_gateway(
            f"http://127.0.0.1:{silent}", tmp_path, f"--metrics_port={port}"
        ) as gateway,
    ):
        assert gateway.post(band(3))[0] == 503
        found = Scraped(gateway, port).samples_after(("/v1/predict", "503"))
    assert found["dlstack_gateway_model_server_up"] == {(): 0}
    assert found["dlstack_gateway_requests_total"]["/v1/predict", "503"] == 1
    assert not [name for name in found if name.startswith(":")]


def test_the_page_s_port_does_not_show_them(scraped: Scraped) -> None:
    assert scraped.gateway.call("GET", "/metrics", X_Auth_Token=TOKEN)[0] == 404


def test_who_sends_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom otherwise: any pod of the cluster can fill the process with threads that wait."""
    monkeypatch.setattr(monitoring, "CLIENT_SECONDS", 0.1)
    with held_ports(1) as [port]:
        monitoring.serve(port, lambda: b"")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            assert client.recv(1) == b""
