"""Two real model servers, and clients of them over both transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from client import Client, PredictionError
from tests.ports import held_ports
from tests.serving_fixtures import (
    ModelServer,
    export_kinds_model,
    export_mnist_like_model,
    running_server,
)

Connect = Callable[..., Client]


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server of the model `mnist`, version 3."""
    base = tmp_path_factory.mktemp("client") / "mnist"
    export_mnist_like_model(base / "3")
    with running_server(base, "mnist") as server:
        yield server


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server of the model `kinds`: one signature for each dtype, and odd ones."""
    base = tmp_path_factory.mktemp("client") / "kinds"
    export_kinds_model(base / "1")
    with running_server(base, "kinds") as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def held_port() -> Iterator[int]:
    """A port where connections are refused, unless the test listens there."""
    with held_ports(1) as [port]:
        yield port


def port_of(server: ModelServer, transport: str) -> int:
    return server.grpc_port if transport == "grpc" else server.rest_port


@pytest.fixture
def connect(transport: str) -> Iterator[Connect]:
    """Return a client of a server; other arguments are the client's own."""
    with ExitStack() as stack:

        def make(server: ModelServer, **settings: Any) -> Client:
            settings.setdefault("port", port_of(server, transport))
            settings.setdefault("model", server.name)
            return stack.enter_context(Client("127.0.0.1", transport=transport, **settings))

        yield make


def digit(k: int) -> np.ndarray:
    """Return the 784 values of the picture that the MNIST-like model takes for `k`."""
    pixels = np.zeros(784, np.float32)
    pixels[78 * k : 78 * (k + 1)] = 1
    return pixels


def failure(call: Callable[[], object], kind: type[PredictionError]) -> PredictionError:
    """Return the error of a call, which is of a kind and one line of whole sentences."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return caught.value
