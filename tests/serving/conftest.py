"""Model servers for the tests of the serving half, and the protos to call them with."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.engine.c_api import skip_tensorflow_import
from serving.event_loop import EventLoop
from tests.serving_fixtures import ModelServer, export_models, running_server

# The protos are imported here once, without TensorFlow itself (4 s); whoever needs that in the same
# process afterwards still gets it.
_stub = "tensorflow" not in sys.modules
skip_tensorflow_import()
from tensorflow_serving.apis import (  # noqa: E402
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

import serving.ports.grpc.server  # noqa: E402
import serving.ports.rest.server  # noqa: E402
import serving.wire.tensor_proto  # noqa: E402

if _stub:
    del sys.modules["tensorflow"]


@pytest.fixture(scope="session")
def loop() -> Iterator[EventLoop]:
    """An event loop as a port has it, with one thread for blocking work."""
    with EventLoop("test") as loop:
        yield loop


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SavedModels: see the calls below and `serving_fixtures`."""
    folder = tmp_path_factory.mktemp("models")
    # In one child: most of its time goes into importing TensorFlow.
    export_models(
        ("mnist", folder / "mnist", ""),
        ("half_plus_two", folder / "half_plus_two", "2"),
        ("half_plus_two", folder / "half_plus_three", "3"),
        ("half_plus_two_v1", folder / "half_plus_two_v1", ""),
        ("half_plus_two_v2", folder / "half_plus_two_v2", ""),
        ("kinds", folder / "kinds", ""),
        ("examples", folder / "examples", ""),
    )
    return folder


@pytest.fixture(scope="session")
def front_end() -> str:
    """Which front end servers have: the one that they choose, unless a folder's tests say more."""
    return "auto"


def served(models: Path, base: Path, kind: str, version: int) -> Path:
    """Put a SavedModel below a base path as a version, whole at once; return the base path."""
    base.mkdir(parents=True, exist_ok=True)
    (base / str(version)).symlink_to(models / kind)
    return base


@pytest.fixture(scope="session")
def kinds(
    models: Path, tmp_path_factory: pytest.TempPathFactory, front_end: str
) -> Iterator[ModelServer]:
    """A server with many signatures, version 3."""
    base = served(models, tmp_path_factory.mktemp("serving") / "kinds", "kinds", 3)
    with running_server(base, "kinds", ["--rest_api_enable_cors_support"]) as server:
        yield server


@pytest.fixture(scope="session")
def examples(
    models: Path, tmp_path_factory: pytest.TempPathFactory, front_end: str
) -> Iterator[ModelServer]:
    """A server of a model that takes Examples, version 5."""
    base = served(models, tmp_path_factory.mktemp("serving") / "examples", "examples", 5)
    with running_server(base, "examples") as server:
        yield server


@pytest.fixture(scope="session")
def mnist(
    models: Path, tmp_path_factory: pytest.TempPathFactory, front_end: str
) -> Iterator[ModelServer]:
    """A server of the MNIST-like model, version 7."""
    base = served(models, tmp_path_factory.mktemp("serving") / "mnist", "mnist", 7)
    with running_server(base, "mnist") as server:
        yield server


def predict_stub(server: ModelServer) -> Any:
    """Return a PredictionService stub."""
    return prediction_service_pb2_grpc.PredictionServiceStub(server.channel)


def model_stub(server: ModelServer) -> Any:
    """Return a ModelService stub."""
    return model_service_pb2_grpc.ModelServiceStub(server.channel)


def predict_request(
    name: str, signature: str = "", output_filter: tuple[str, ...] = (), **inputs: Any
) -> predict_pb2.PredictRequest:
    """Return a request with typed fields (`float_val`) from arrays."""
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for alias, array in inputs.items():
        serving.wire.tensor_proto.write(request.inputs[alias], array)
    return request


def slow_request(server: ModelServer, seconds: float) -> predict_pb2.PredictRequest:
    """Return a request to the `kinds` model that takes so long here, longer on a busy machine."""

    def request(steps: int) -> predict_pb2.PredictRequest:
        return predict_request(server.name, "slow", steps=np.array([steps], np.int32))

    stub = predict_stub(server)
    stub.Predict(request(1))
    taken = []
    # The quickest counts: by one that others have held up, the request would end too early.
    for _ in range(3):
        started = time.monotonic()
        stub.Predict(request(200))
        taken.append(time.monotonic() - started)
    return request(int(seconds / min(taken) * 200))
