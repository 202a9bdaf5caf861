"""The log of each process, for people and for collectors."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.serving.conftest import served
from tests.serving_fixtures import ROOT, running_server

PROCESSES = {
    "serving": ["--model_base_path=relative"],
    "serving.gateway": ["--model_name=m", "--token_file=/nowhere"],
    "serving.sync": ["--source_url=x", "--model_version=1", "--target_dir=/tmp/none"],
}


def run(module: str, log_format: str, *, code: str = "") -> subprocess.CompletedProcess[str]:
    command = ["-c", code] if code else ["-m", module, *PROCESSES[module]]
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"LOG_FORMAT": log_format, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )


def records(text: str) -> list[dict[str, str]]:
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    for record in found:
        assert datetime.fromisoformat(record["time"]).utcoffset() is not None
    return found


@pytest.mark.parametrize("module", PROCESSES)
def test_an_unknown_format_is_one_line(module: str) -> None:
    done = run(module, "xml")
    assert done.returncode != 0
    assert done.stderr.splitlines() == ["LOG_FORMAT 'xml' is unknown. Use one of: text, json."]


@pytest.mark.parametrize("module", ["serving.gateway", "serving.sync"])
def test_in_json_each_line_is_an_object(module: str) -> None:
    done = run(module, "json")
    [record] = records(done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert (record["level"], record["logger"]) == ("ERROR", module)
    assert record["message"]


def test_an_error_nobody_expected_is_one_object_with_its_traceback() -> None:
    code = "from serving import logs; logs.configure(); {}['key']"
    done = run("", "json", code=code)
    assert done.returncode == 1
    [record] = records(done.stderr)
    assert record["level"] == "CRITICAL"
    assert "KeyError: 'key'" in record["exception"]


def test_the_model_server_logs_in_json(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m") as server:
        messages = [record["message"] for record in records(server.log())]
    assert any("Successfully loaded servable version {name: m version: 1}" in m for m in messages)
