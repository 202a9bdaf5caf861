"""SavedModels of every kind load, and answer over gRPC and REST as in the process that made them.

They are made by `saved_kinds`, which says what each is.
"""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.wire import tensor_proto
from tests.serving.asking import http_call
from tests.serving.conftest import predict_request, predict_stub
from tests.serving.models import saved_kinds
from tests.serving_fixtures import ModelServer, running_server

pytestmark = pytest.mark.slow

TOLERANCE = {"mixed_bfloat16": 0.05, "mixed_float16": 0.005, "int8": 0.05}
"""Where TensorFlow's optimised graph rounds elsewhere than a call of the model does."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved_kinds")
    done = subprocess.run(
        [sys.executable, saved_kinds.__file__, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ModelServer]:
    entries = (
        f'config {{ name: "{kind}" base_path: "{folder / kind}" model_platform: "tensorflow" }}'
        for kind in saved_kinds.KINDS
    )
    (folder / "config").write_text(f"model_config_list {{ {' '.join(entries)} }}")
    flags = [f"--model_config_file={folder / 'config'}", "--max_num_load_retries=0"]
    with running_server(folder / "sequential", "", flags) as running:
        yield running


def example(folder: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the inputs of a model and its answers."""
    given, answers = pickle.loads((folder / f"{kind}.pkl").read_bytes())
    return (
        {name: _array(value) for name, value in given.items()},
        {name: _array(value) for name, value in answers.items()},
    )


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "SU" else array


def check(kind: str, found: dict[str, np.ndarray], answers: dict[str, np.ndarray]) -> None:
    assert found.keys() == answers.keys()
    for name, answer in answers.items():
        assert found[name].shape == answer.shape
        if answer.dtype == object:
            assert found[name].tolist() == answer.tolist()
        else:
            tolerance = TOLERANCE.get(kind, 1e-5)
            np.testing.assert_allclose(
                found[name].astype(np.float64), answer.astype(np.float64), tolerance, tolerance
            )


@pytest.mark.parametrize("kind", saved_kinds.KINDS)
def test_answers_over_grpc(server: ModelServer, folder: Path, kind: str) -> None:
    given, answers = example(folder, kind)
    outputs = predict_stub(server).Predict(predict_request(kind, **given)).outputs
    found = {name: tensor_proto.from_proto(value) for name, value in outputs.items()}
    assert {name: value.dtype for name, value in found.items()} == {
        name: value.dtype for name, value in answers.items()
    }
    check(kind, found, answers)


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(element) for element in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


@pytest.mark.parametrize("kind", saved_kinds.KINDS)
def test_answers_over_rest(server: ModelServer, folder: Path, kind: str) -> None:
    given, answers = example(folder, kind)
    body = {"inputs": {name: _json(value.tolist()) for name, value in given.items()}}
    status, text = http_call(server, "POST", f"/v1/models/{kind}:predict", body)
    answer = json.loads(text)
    if kind == "mixed_bfloat16":
        # TensorFlow Serving has no form for it either.
        told = "Failed to write JSON value for tensor type: bfloat16"
        assert (status, answer) == (400, {"error": told})
        return
    assert status == 200, text
    outputs = answer["outputs"] if len(answers) > 1 else {next(iter(answers)): answer["outputs"]}
    check(
        kind,
        {
            name: _array([v.encode() for v in np.ravel(value)]).reshape(np.shape(value))
            if answers[name].dtype == object
            else np.asarray(value)
            for name, value in outputs.items()
        },
        answers,
    )


def test_every_endpoint_of_an_export_is_served(server: ModelServer, folder: Path) -> None:
    given, _ = example(folder, "several_endpoints")
    asked = predict_request("several_endpoints", "features", **given)
    assert predict_stub(server).Predict(asked).outputs.keys() == {"features"}
