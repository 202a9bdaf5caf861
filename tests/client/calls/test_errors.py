"""What goes wrong, over both transports: which error it is, and that its one line says enough."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from client import (
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidInput,
    ServerError,
    SettingsError,
    Tls,
)
from tests import refusals
from tests.serving_fixtures import ModelServer

from ..conftest import Connect, digit, failure, port_of


def test_an_unknown_model_is_the_servers_not_found(mnist: ModelServer, connect: Connect) -> None:
    stranger = connect(mnist, model="mnst")
    error = failure(lambda: stranger.predict(digit(1)[np.newaxis]), ServerError)
    assert isinstance(error, ServerError)
    assert error.code == "NOT_FOUND"
    assert error.message == "Servable not found for request: Latest(mnst)"
    assert (error.host, error.model) == (stranger.address, "mnst")
    assert failure(stranger.status, ServerError).code == "NOT_FOUND"


def test_an_unknown_version_is_the_servers_not_found(mnist: ModelServer, connect: Connect) -> None:
    error = failure(connect(mnist, version=99).metadata, ServerError)
    assert "Specific(mnist, 99)" in str(error)


def test_an_unknown_version_label_is_the_servers_invalid_argument(
    mnist: ModelServer, connect: Connect
) -> None:
    error = failure(connect(mnist, version_label="cänary/1").metadata, ServerError)
    assert isinstance(error, ServerError)
    assert (error.code, error.message) == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: cänary/1",
    )


def test_an_unknown_signature_is_named_with_those_there_are(
    mnist: ModelServer, connect: Connect
) -> None:
    one = connect(mnist, signature="nope")
    error = failure(lambda: one.predict(digit(1)[np.newaxis]), InvalidInput)
    assert str(error) == (
        "Model 'mnist' version 3 has no signature 'nope'. "
        "Take one of: image_bytes, predict_object, serving_default."
    )
    assert error.signature == "nope"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (np.zeros((1, 785), np.float32), "shape [1, 785], the model takes [?, 784]"),
        (np.zeros(784, np.float32), "shape [784], the model takes [?, 784]"),
        ({"image": digit(1)[np.newaxis]}, "has no input 'image'. Its inputs are: images."),
        ([["seven"] * 784], "takes float32"),
        ([[1.0], [1.0, 2.0]], "not a regular array"),
        (np.zeros((1, 784), np.complex64), "takes float32"),
    ],
)
def test_what_does_not_fit_is_said_without_asking_the_server(
    mnist: ModelServer, connect: Connect, inputs: object, said: str
) -> None:
    one = connect(mnist)
    assert said in str(failure(lambda: one.predict(inputs), InvalidInput))


@pytest.mark.parametrize(
    ("signature", "value", "said"),
    [
        ("echo_uint8", [300], "takes uint8"),
        ("echo_uint8", [0.5], "takes uint8"),
        ("echo_string", [1], "takes strings, not int"),
        ("add", [[1.0, 2.0]], "has 2 inputs (a, b), not one"),
    ],
)
def test_values_that_would_change_are_refused(
    kinds: ModelServer, connect: Connect, signature: str, value: list[object], said: str
) -> None:
    one = connect(kinds)
    error = failure(lambda: one.predict(value, signature=signature), InvalidInput)
    assert said in str(error)
    assert error.signature == signature


def test_a_missing_input_is_the_servers_invalid_argument(
    kinds: ModelServer, connect: Connect
) -> None:
    one = connect(kinds)
    error = failure(lambda: one.predict({"a": [[1.0, 2.0]]}, signature="add"), ServerError)
    assert isinstance(error, ServerError)
    assert error.code == "INVALID_ARGUMENT"
    assert "b" in error.message


def test_a_call_that_takes_too_long_ends_at_its_deadline(
    kinds: ModelServer, connect: Connect
) -> None:
    one = connect(kinds)
    one.predict(np.array([1], np.int32), signature="slow")
    one.timeout = 0.25
    error = failure(
        lambda: one.predict(np.array([5000], np.int32), signature="slow"), DeadlineExceeded
    )
    assert f"No answer from {one.address} within 0.25 s" in str(error)


def test_a_server_that_has_answered_is_not_asked_what_it_is_at_a_deadline(
    kinds: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call would take a second longer than its deadline."""
    monkeypatch.setattr(
        "client._transports.grpc_codec.what_listens", lambda *_: pytest.fail("asked")
    )
    with Client("127.0.0.1", "kinds", port=kinds.grpc_port) as one:
        one.choose_signature("slow")
        one.timeout = 0.25
        failure(lambda: one.predict(np.array([5000], np.int32), signature="slow"), DeadlineExceeded)


def test_a_port_that_accepts_and_says_nothing_is_a_deadline(transport: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Client("127.0.0.1", "m", port=port, transport=transport, timeout=0.3) as one:
            failure(one.status, DeadlineExceeded)


def test_nothing_listening_is_said_with_the_reason(transport: str, held_port: int) -> None:
    with Client("127.0.0.1", "mnist", port=held_port, transport=transport) as one:
        error = failure(one.metadata, ConnectionFailed)
    assert f"No connection to {one.address} (Connection refused)" in str(error)


def test_a_host_without_an_address_is_said(transport: str) -> None:
    with Client("no-such-host.invalid", "mnist", transport=transport) as one:
        assert "no-such-host.invalid" in str(failure(one.metadata, ConnectionFailed))


def test_the_other_transports_port_is_recognised(mnist: ModelServer, transport: str) -> None:
    other = "rest" if transport == "grpc" else "grpc"
    with Client("127.0.0.1", "m", port=port_of(mnist, other), transport=transport) as one:
        error = failure(lambda: one.predict(digit(1)[np.newaxis]), ConnectionFailed)
    assert f"Use the transport `{other}`" in str(error)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": ""},
        {"host": "http://127.0.0.1"},
        {"model": ""},
        {"port": 0},
        {"port": 65536},
        {"transport": "smtp"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"version": -1},
        {"version": 2**63},
        {"version_label": ""},
        {"version": 1, "version_label": "stable"},
        {"host": "127.0.0.1:8500", "port": 8501},
        {"host": "127.0.0.1:"},
        {"host": "[::1]8500"},
        {"host": "[127.0.0.1"},
        {"host": "a:b"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        Client(**({"host": "127.0.0.1", "model": "mnist"} | settings))


def test_ipv6_addresses_are_put_in_brackets(transport: str, held_port: int) -> None:
    for host in ("::1", "[::1]", f"[::1]:{held_port}"):
        with Client(host, "mnist", port=held_port, transport=transport, retries=0) as one:
            assert one.address.startswith("[::1]:")
            failure(one.status, ConnectionFailed)


def test_a_client_says_whom_it_asks_and_never_the_token() -> None:
    """It was an object at an address."""
    with Client("models.example.com", "m", port=8500, version=3, tls=Tls(), token="s3cret") as one:
        assert repr(one) == (
            "<Client 'models.example.com:8500', 'm', transport='grpc', version=3, tls>"
        )


@pytest.mark.parametrize(("message", "words"), refusals.OF_MODELS)
def test_what_a_model_refuses_is_told_to_people(message: str, words: str) -> None:
    said = str(ServerError("somewhere:8500", "INVALID_ARGUMENT", message))
    assert said == f"The model at somewhere:8500 refuses this: {' '.join(words.split())}."


def test_what_a_models_graph_refuses_is_said_in_its_words_alone() -> None:
    """Symptom: names of the graph's nodes, and advice about metadata, for blank paper."""
    message = (
        "assertion failed: [it is empty: nothing stands out] [image_bytes[0]]\n"
        "\t [[{{function_node map_1_while_body_1}}{{node map/while/Assert}}]]"
    )
    error = ServerError("somewhere:8500", "INVALID_ARGUMENT", message)
    assert str(error) == (
        "The model at somewhere:8500 refuses this: it is empty: nothing stands out."
    )
    assert error.message == message
