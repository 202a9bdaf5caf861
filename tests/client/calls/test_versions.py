"""Versions of a model and their labels, on a real server that has several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client import Client
from client._command import cli
from tests.serving_fixtures import ModelServer, export_models, running_server
from tests.waiting import eventually

from ..conftest import Connect, digit, port_of

pytestmark = pytest.mark.slow

CONFIG = """
model_config_list {{
  config {{
    name: "mnist" base_path: "{}" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
}}
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server of version 1, which answers 1 to everything and is `stable`, and 2, `canary`."""
    base = tmp_path_factory.mktemp("versions") / "mnist"
    export_models(("mnist", base / "1", "1"), ("mnist", base / "2", "2"))
    config = base.parent / "models.config"
    config.write_text(CONFIG.format(base))
    flags = [f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models"]
    with running_server(base, flags=flags) as server:
        # The ports open as soon as one of them serves.
        with Client("127.0.0.1", "mnist", port=server.rest_port, transport="rest") as one:
            eventually(lambda: [v.state for v in one.status().versions] == ["AVAILABLE"] * 2)
        yield server


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({}, 2),
        ({"version": 1}, 1),
        ({"version_label": "stable"}, 1),
        ({"version_label": "canary"}, 2),
    ],
)
def test_the_version_that_was_asked_for_answers(
    two: ModelServer, connect: Connect, asked: dict[str, object], answered: int
) -> None:
    one = connect(two, **asked)
    assert one.predict(digit(5)[np.newaxis]).outputs["predictions"].tolist() == [answered]
    assert one.metadata().version == answered


def test_over_grpc_an_answer_says_which_version_has_the_label(two: ModelServer) -> None:
    with Client("127.0.0.1", "mnist", port=two.grpc_port, version_label="stable") as one:
        assert one.predict(digit(5)[np.newaxis]).version == 1


def test_the_status_of_a_label_is_that_of_all_versions(two: ModelServer, connect: Connect) -> None:
    """As TensorFlow Serving has it."""
    status = connect(two, version_label="stable").status()
    assert [version.version for version in status.versions] == [2, 1]


def test_the_command_takes_a_label_from_flag_or_environment(
    two: ModelServer,
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "a.npy", digit(5))
    monkeypatch.setenv("DLSTACK_LABEL", "stable")
    command = ["predict", "--host=127.0.0.1", "--model=mnist", f"--transport={transport}"]
    command += [f"--port={port_of(two, transport)}", "--output=predictions"]
    assert cli.main([*command, str(tmp_path / "a.npy")]) == 0
    assert cli.main([*command, "--label=canary", str(tmp_path / "a.npy")]) == 0
    assert cli.main([*command, "--version=2", str(tmp_path / "a.npy")]) == 0
    assert [line[-1] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "2"]
