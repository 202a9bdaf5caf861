"""Grafana's dashboard and docs/metrics.md ask for nothing that the parts of a stack don't tell."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from client import Client
from tests.client.conftest import digit
from tests.ports import free_port
from tests.serving.gateway.running import band, running_gateway
from tests.serving_fixtures import ROOT, export_mnist_like_model, running_server
from training.agent.metrics_page import page
from training.agent.run_record import RunRecord, nowhere

DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
DOCUMENT = ROOT / "docs" / "metrics.md"
FACTS = {"run_hash": "ab" * 32, "model_name": "mnist", "attempt": 1, "nodes": 1}
TARGET_LABELS = {"namespace", "pod"}
"""Which Prometheus gives to what it scrapes."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Name of each sample that a stack's pods tell, with its labels."""
    folder, port = tmp_path_factory.mktemp("dashboard"), free_port()
    base = folder / "mnist"
    export_mnist_like_model(base / "1")
    (folder / "monitoring.config").write_text("prometheus_config { enable: true }")
    flags = [f"--monitoring_config_file={folder / 'monitoring.config'}", "--enable_batching"]
    with (
        running_server(base, "mnist", flags) as server,
        running_gateway(server.rest_url, base, f"--metrics_port={port}") as gateway,
        Client("127.0.0.1", "mnist", port=server.grpc_port, timeout=60) as client,
    ):
        client.predict(digit(3)[None])
        assert gateway.post(band(3))[0] == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
    record = RunRecord(nowhere, None, FACTS)
    record.phase("fetch", 0.5)
    for step in (1, 500):
        record.sees(f"Step {step} of 1000\n".encode())
    document = record.now() | {"metrics": {"accuracy": 0.9}}
    # It is told once two lines are seconds apart.
    document["progress"] = document["progress"] | {"end": "2026-01-01T00:00:00+00:00"}
    found: dict[str, set[str]] = {}
    # Not by a parser that has names of its own for what does not end in `_total`.
    for line in (text + page(document, worker=0)).splitlines():
        if not line.startswith("#"):
            name, _, labels = line.rpartition(" ")[0].partition("{")
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def queries() -> list[tuple[str, str]]:
    """Each query of the dashboard, as Grafana sends it, and what its legend shows."""
    board = json.loads(DASHBOARD.read_text())
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    return [
        (target["expr"].replace("$__rate_interval", "5m"), target["legendFormat"])
        for target in targets
    ]


def selectors(expression: Any) -> Iterator[tuple[str, set[str]]]:
    """Yield name and labels of each selector in a query."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield str(expression.name), {one.name for one in expression.matchers.matchers}
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if (inner := getattr(expression, part, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(expression, "args", ()):
        yield from selectors(inner)


@pytest.mark.parametrize(("query", "legend"), queries())
def test_every_panel_asks_for_what_is_told(
    told: dict[str, set[str]], query: str, legend: str
) -> None:
    asked = list(selectors(promql_parser.parse(query)))
    assert asked or query == "time()"
    shown = {*re.findall(r"{{(.*?)}}", legend)}
    grouped = {word for group in re.findall(r"by \((.*?)\)", query) for word in group.split(", ")}
    for name, labels in asked:
        assert name in told
        assert labels | shown | grouped <= told[name] | TARGET_LABELS, name


def test_the_variable_knows_the_namespaces_by_what_is_told(told: dict[str, set[str]]) -> None:
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    (query,) = [one["definition"] for one in variables if one["name"] == "namespace"]
    names = re.search(r'=~"(.*?)"', query)
    assert names and set(names[1].split("|")) <= told.keys()


def test_the_document_lists_what_there_is(told: dict[str, set[str]]) -> None:
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in told}
    families |= told.keys()
    listed = re.findall(r"^\| `([a-z_:]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    ours = {name for name in listed if name.startswith(("dlstack_", ":"))}
    assert ours <= families
    assert {name for name in families if name.startswith("dlstack_")} - {
        *(f"{name}{end}" for name in ours for end in ("_bucket", "_sum", "_count"))
    } == {name for name in ours if name.startswith("dlstack_")}
