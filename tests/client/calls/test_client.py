"""The library against real servers, over both transports with the same expectations.

What goes wrong is in test_errors.py; pictures, settings and the command have folders of their own.
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import client
from client import Client, ServerError, TensorSpec
from tests.ports import held_ports
from tests.serving_fixtures import (
    ModelServer,
    export_mnist_like_model,
    running_server,
)

from ..conftest import Connect, digit, failure, port_of


def test_public_names_are_these() -> None:
    assert sorted(client.__all__) == [
        "About",
        "AsyncClient",
        "Client",
        "ConnectionFailed",
        "DeadlineExceeded",
        "ExamplePrediction",
        "ExamplePredictions",
        "FileError",
        "InvalidInput",
        "ModelMetadata",
        "ModelStatus",
        "PictureError",
        "Prediction",
        "PredictionError",
        "PredictionWarning",
        "Score",
        "ServerError",
        "SettingsError",
        "Signature",
        "TensorAbout",
        "TensorSpec",
        "Tls",
        "VersionStatus",
        "read_labels",
    ]
    assert all(hasattr(client, name) for name in client.__all__)


def test_one_picture_goes_to_predict_object_and_comes_back_as_predictions(
    mnist: ModelServer, connect: Connect
) -> None:
    answer = connect(mnist).predict(digit(7)[np.newaxis])
    assert answer.signature == "predict_object"
    assert {name: (out.dtype, out.tolist()) for name, out in answer.outputs.items()} == {
        "predictions": (np.int64, [7])
    }


def test_many_rows_go_in_one_request(mnist: ModelServer, connect: Connect) -> None:
    rows = np.stack([digit(k) for k in (9, 0, 4)])
    outputs = connect(mnist).predict({"images": rows}, signature="serving_default").outputs
    assert outputs["predictions"].tolist() == [9, 0, 4]
    assert outputs["probabilities"].dtype == np.float32
    assert outputs["probabilities"].shape == (3, 10)
    assert outputs["probabilities"].argmax(1).tolist() == [9, 0, 4]


def test_lists_and_float64_are_converted_to_what_the_model_takes(
    mnist: ModelServer, connect: Connect
) -> None:
    rows = digit(2).astype(np.float64)[np.newaxis].tolist()
    assert connect(mnist).predict(rows).outputs["predictions"].tolist() == [2]


def test_grpc_says_which_version_answered(mnist: ModelServer) -> None:
    with Client("127.0.0.1", "mnist", port=mnist.grpc_port) as grpc_client:
        assert grpc_client.predict(digit(1)[np.newaxis]).version == 3


def test_a_version_that_was_asked_for_is_in_the_answer(
    mnist: ModelServer, connect: Connect
) -> None:
    assert connect(mnist, version=3).predict(digit(1)[np.newaxis]).version == 3


def test_metadata_has_all_signatures(mnist: ModelServer, connect: Connect) -> None:
    metadata = connect(mnist).metadata()
    assert (metadata.model, metadata.version) == ("mnist", 3)
    assert list(metadata.signatures) == ["image_bytes", "predict_object", "serving_default"]
    assert metadata.signatures["predict_object"].inputs == {
        "images": TensorSpec("images", "float32", (None, 784))
    }
    assert metadata.signatures["serving_default"].outputs == {
        "predictions": TensorSpec("predictions", "int64", (None,)),
        "probabilities": TensorSpec("probabilities", "float32", (None, 10)),
    }
    assert str(metadata.signatures["image_bytes"].inputs["image_bytes"]) == "string [?]"


def test_status_has_the_version_available(mnist: ModelServer, connect: Connect) -> None:
    status = connect(mnist).status()
    assert status.available
    assert [(v.version, v.state, v.error_code) for v in status.versions] == [(3, "AVAILABLE", "OK")]


NUMBERS = {
    "float32": [0.0, -1.5, np.inf, np.float32(1e-30)],
    "float64": [0.0, 1e300, 1 / 3],
    "int8": [-128, 127],
    "int16": [-(2**15), 5],
    "int32": [-(2**31), 5],
    "int64": [-(2**63), 2**63 - 1],
    "uint8": [0, 255],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**63],
    "bool": [True, False],
}


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_every_dtype_come_back_as_they_were_sent(
    kinds: ModelServer, connect: Connect, dtype: str
) -> None:
    sent = np.array([NUMBERS[dtype]], dtype)
    received = connect(kinds).predict(sent, signature=f"echo_{dtype}").outputs["y"]
    assert received.dtype == dtype
    np.testing.assert_array_equal(received, sent)


@pytest.mark.parametrize("sent", [np.array([1.5, 65504], "float16"), np.array([65535], "uint16")])
def test_what_json_cannot_carry_goes_over_grpc(kinds: ModelServer, sent: np.ndarray) -> None:
    signature = f"echo_{sent.dtype}"
    with Client("127.0.0.1", "kinds", port=kinds.grpc_port) as one:
        received = one.predict(sent, signature=signature).outputs["y"]
    assert received.dtype == sent.dtype
    np.testing.assert_array_equal(received, sent)
    with Client("127.0.0.1", "kinds", port=kinds.rest_port, transport="rest") as one:
        error = failure(lambda: one.predict(sent, signature=signature), ServerError)
    assert isinstance(error, ServerError)
    assert error.code == "UNIMPLEMENTED"
    assert "Use the transport `grpc`" in str(error)


def test_strings_are_bytes_in_both_directions(kinds: ModelServer, connect: Connect) -> None:
    outputs = connect(kinds).predict(["abc", b"\xc3\xa4"], signature="shout").outputs
    assert outputs["out_bytes"].tolist() == outputs["text"].tolist() == [b"ABC", b"\xc3\xa4"]


@pytest.mark.parametrize("value", [[], 4.0, [[[1.0], [2.0]]]])
def test_any_shape_goes_through(kinds: ModelServer, connect: Connect, value: object) -> None:
    received = connect(kinds).predict(value, signature="echo_float32").outputs["y"]
    np.testing.assert_array_equal(received, np.asarray(value, np.float32))


def test_several_inputs_are_given_by_name(kinds: ModelServer, connect: Connect) -> None:
    inputs = {"a": [[1.0, 2.0]], "b": [[10.0, 20.0]]}
    outputs = connect(kinds).predict(inputs, signature="add").outputs
    assert {name: out.tolist() for name, out in outputs.items()} == {
        "sum": [[11, 22]],
        "difference": [[-9, -18]],
    }


def test_one_client_serves_many_threads(mnist: ModelServer, connect: Connect) -> None:
    shared = connect(mnist)

    def ask(k: int) -> int:
        return int(shared.predict(digit(k)[np.newaxis]).outputs["predictions"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, [k % 10 for k in range(80)])) == [k % 10 for k in range(80)]


def test_rest_keeps_its_connection_between_calls(
    mnist: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = socket.create_connection

    def count(*args: object, **kwargs: object) -> socket.socket:
        made.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", count)
    with Client("127.0.0.1", "mnist", port=mnist.rest_port, transport="rest") as one:
        for _ in range(5):
            one.predict(digit(1)[np.newaxis])
    assert len(made) == 1


@pytest.mark.slow
def test_clients_outlive_a_restart_of_their_server(tmp_path: Path) -> None:
    """The kept connections are dead then."""
    base = tmp_path / "mnist"
    export_mnist_like_model(base / "1", answer=1)
    with ExitStack() as survivors:
        ports = survivors.enter_context(held_ports(2))
        with running_server(base, ports=ports) as first:
            clients = [
                survivors.enter_context(
                    Client("127.0.0.1", "mnist", port=port_of(first, name), transport=name)
                )
                for name in ("grpc", "rest")
            ]
            for one in clients:
                assert one.predict(digit(5)[np.newaxis]).outputs["predictions"].tolist() == [1]
        with running_server(base, ports=ports):
            for one in clients:
                assert one.predict(digit(5)[np.newaxis]).outputs["predictions"].tolist() == [1]
