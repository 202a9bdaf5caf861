"""The text example's own model, asked without a flag: trained here as a training job would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client._command import cli
from tests.serving_fixtures import ModelServer, running_server

from ..conftest import port_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server of the text example's model."""
    folder = tmp_path_factory.mktemp("text")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    data, run = folder / "data", folder / "run"
    run.mkdir()
    for command in (
        ["examples/text/generate_data.py", f"--target_dir={data}", "--train=300", "--test=20"],
        ["examples/text/train.py", f"--data_url={data}", f"--train_url={run}"],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    base = folder / "models" / "text"
    base.mkdir(parents=True)
    (run / "model").rename(base / "1")
    with running_server(base, "text") as server:
        yield server


@pytest.fixture
def led(text: ModelServer, transport: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lead the command to the model."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOST": "127.0.0.1",
        "MODEL": "text",
        "TRANSPORT": transport,
        "PORT": str(port_of(text, transport)),
    }.items():
        monkeypatch.setenv(f"DLSTACK_{name}", value)


@pytest.mark.usefixtures("led")
def test_texts_are_answered_with_the_names_of_their_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "messages.txt").write_text("my parcel did not arrive\nI want my money back\n")
    assert cli.main(["predict", "messages.txt", "--top=4", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["predictions"]
    assert (first["source"], first["label"]) == ("messages.txt:1", "delivery")
    assert (second["source"], second["label"]) == ("messages.txt:2", "returns")
    assert first["scores"][0]["label"] == "delivery"
    assert sum(score["probability"] for score in first["scores"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.usefixtures("led")
def test_a_picture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert cli.main(["predict", "a.png"]) == 1
    assert "takes no pictures: serving_default takes text (string [?])" in capsys.readouterr().err
