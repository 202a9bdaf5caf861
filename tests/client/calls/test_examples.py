"""Many examples on real servers: requests that are too large, examples that the server refuses,
what a model says of itself, and a version that takes over meanwhile."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client import (
    Client,
    DeadlineExceeded,
    InvalidInput,
    PredictionError,
    PredictionWarning,
    ServerError,
    SettingsError,
)
from client._transports.base import Deadline
from tests.serving_fixtures import (
    ModelServer,
    export_colours_model,
    export_mnist_like_model,
    export_models,
    running_server,
)

from ..conftest import Connect, digit, port_of

ABOUT = {
    "title": "Colours",
    "inputs": {"pixels": {"range": [0, 255]}},
    "outputs": {"output_0": {"labels": ["red", "green", "blue"]}},
}


@contextmanager
def counted(one: Client, fails: Any = lambda rows: None) -> Iterator[list[int]]:
    """Note how many rows go in each request; `fails` may raise in its place."""
    sent: list[int] = []
    real = one._transport.predict

    def count(signature: Any, inputs: Any, deadline: Any) -> Any:
        (rows,) = {len(array) for array in inputs.values()}
        sent.append(rows)
        fails(rows)
        return real(signature, inputs, deadline)

    one._transport.predict = count  # type: ignore[method-assign]
    yield sent


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """An array of ten digits, 0 to 9."""
    np.save(tmp_path / "ten.npy", np.stack([digit(k) for k in range(10)]))
    return tmp_path / "ten.npy"


@pytest.fixture(scope="module")
def batching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server that takes 4 rows at once."""
    base = tmp_path_factory.mktemp("batching") / "mnist"
    export_mnist_like_model(base / "1")
    parameters = base.parent / "batching.txt"
    parameters.write_text("max_batch_size { value: 4 }")
    flags = ["--enable_batching", f"--batching_parameters_file={parameters}"]
    with running_server(base, flags=flags) as server:
        yield server


def test_the_number_of_rows_in_a_request_can_be_set(
    mnist: ModelServer, connect: Connect, ten: Path
) -> None:
    one = connect(mnist)
    with counted(one) as sent:
        answers = [answer.prediction for answer in one.predict_files([ten], rows=4)]
    assert (answers, sent) == (list(range(10)), [4, 4, 2])
    with pytest.raises(SettingsError, match="Rows 0 is not a number of rows"):
        list(one.predict_files([ten], rows=0))


def test_a_server_that_takes_fewer_rows_gets_as_many_as_it_takes(
    batching: ModelServer, connect: Connect, ten: Path
) -> None:
    one, notes = connect(batching), []
    with counted(one) as sent:
        found = one.predict_files([ten, ten], on_note=notes.append, rows=10)
        answers = [answer.prediction for answer in found]
    assert (answers, sent) == ([*range(10)] * 2, [10, 4, 4, 2, 4, 4, 2])
    assert notes == [
        "The server does not take as much at once: 4 rows go in a request now, not 10."
    ]


def test_requests_that_take_too_long_are_halved(
    mnist: ModelServer, connect: Connect, ten: Path
) -> None:
    def fails(rows: int) -> None:
        if rows > 3:
            raise DeadlineExceeded("too late")

    one, notes = connect(mnist), []
    with counted(one, fails) as sent:
        answers = [a.prediction for a in one.predict_files([ten], on_note=notes.append)]
    assert (answers, sent) == (list(range(10)), [10, 5, 3, 2, 5, 3, 2])
    assert notes == [
        "No answer within 10 s: 5 rows go in a request now, not 10.",
        "No answer within 10 s: 3 rows go in a request now, not 5.",
    ]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("HTTP 413", "too large"),
        (
            "INVALID_ARGUMENT",
            "needs 9 bytes of memory, and the server has 8 for all requests together",
        ),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 8)"),
    ],
)
def test_requests_that_are_too_large_are_halved(
    mnist: ModelServer, connect: Connect, ten: Path, code: str, message: str
) -> None:
    one, notes = connect(mnist), []

    def fails(rows: int) -> None:
        if rows > 5:
            raise ServerError(one.address, code, message)

    with counted(one, fails) as sent:
        found = one.predict_files([ten, ten], rows=10, on_note=notes.append)
        assert [answer.prediction for answer in found] == [*range(10)] * 2
    assert sent == [10, 5, 5, 5, 5]
    assert len(notes) == 1


def test_a_body_that_a_proxy_takes_for_too_large_is_no_other_kind_of_server() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(413)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        with (
            Client("127.0.0.1", "m", port=server.server_port, transport="rest") as one,
            pytest.raises(ServerError, match="HTTP 413: .* Send fewer rows at once"),
        ):
            one.status()


def test_a_single_row_that_takes_too_long_ends_it(
    mnist: ModelServer, connect: Connect, ten: Path
) -> None:
    def fails(rows: int) -> None:
        raise DeadlineExceeded("too late")

    one = connect(mnist)
    with counted(one, fails) as sent, pytest.raises(DeadlineExceeded):
        list(one.predict_files([ten], on_note=lambda _: None))
    assert sent == [10, 5, 3, 2, 1]


@pytest.mark.parametrize("broken", [[0], [9], [3, 4], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_what_the_server_refuses_loses_no_others_and_stays_in_its_place(
    mnist: ModelServer, connect: Connect, tmp_path: Path, broken: list[int]
) -> None:
    for k in range(10):
        path = tmp_path / f"{k}.png"
        Image.fromarray(np.uint8(digit(k) * 255).reshape(28, 28)).save(path)
        if k in broken:
            path.write_bytes(b"no picture")
    found: list[Any] = []
    for answer in connect(mnist).predict_files([tmp_path], on_error=found.append):
        found.append(answer)
    assert [Path(each.source).stem for each in found] == list("0123456789")
    for k, each in enumerate(found):
        if k in broken:
            assert isinstance(each, ServerError)
            assert each.code == "INVALID_ARGUMENT"
        else:
            assert each.prediction == k


def test_without_anybody_to_take_it_the_error_of_an_example_is_raised_in_its_place(
    mnist: ModelServer, connect: Connect, tmp_path: Path
) -> None:
    Image.fromarray(np.uint8(digit(7) * 255).reshape(28, 28)).save(tmp_path / "7.png")
    (tmp_path / "8.png").write_bytes(b"no picture")
    answers = connect(mnist).predict_files([tmp_path])
    assert next(answers).prediction == 7
    with pytest.raises(ServerError) as caught:
        next(answers)
    assert caught.value.source == str(tmp_path / "8.png")


def test_what_fails_for_every_example_alike_is_no_matter_of_examples(
    mnist: ModelServer, connect: Connect, tmp_path: Path
) -> None:
    for k in range(40):
        (tmp_path / f"{k}.png").write_bytes(b"no picture")
    one = connect(mnist)
    errors: list[PredictionError] = []
    with pytest.raises(ServerError):
        list(one.predict_files([tmp_path], on_error=errors.append))
    assert errors == []


@pytest.fixture(scope="module", params=["", json.dumps(ABOUT), "no JSON"], ids=["", "says", "odd"])
def colours(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelServer, str]]:
    """A server of a model of pixels of 0..255, and what the model says of itself."""
    base = tmp_path_factory.mktemp("colours") / "colours"
    export_colours_model(base / "1", request.param)
    with running_server(base, "colours") as server:
        yield server, request.param


def test_what_a_model_says_of_itself_is_believed_and_what_it_does_not_say_is_told(
    colours: tuple[ModelServer, str], connect: Connect, tmp_path: Path
) -> None:
    server, about = colours
    says = about.startswith("{")
    Image.new("RGB", (20, 20), (0, 200, 0)).save(tmp_path / "a.png")
    one, notes = connect(server), []
    (answer,) = one.predict_files([tmp_path / "a.png"], on_note=notes.append)
    assert (answer.signature, answer.prediction) == ("serving_default", 1)
    assert answer.label == ("green" if says else None)
    assert answer.confidence
    # Pixels of 0..1 hardly differ for this model.
    assert (answer.confidence > 0.9) is says
    if says:
        assert notes == []
    else:
        assert ["as 0..1" in notes[0], "is read as a number for each class" in notes[1]] == [
            True,
            True,
        ]
    (asked,) = one.predict_files([tmp_path / "a.png"], scale=(0, 255), on_note=lambda _: None)
    assert asked.confidence
    assert asked.confidence > 0.9
    said = one.metadata().about
    assert (said.title if said else "") == ("Colours" if says else "")


def test_without_anybody_to_take_it_what_is_guessed_is_a_warning(
    colours: tuple[ModelServer, str], tmp_path: Path
) -> None:
    server, about = colours
    Image.new("RGB", (20, 20), (0, 200, 0)).save(tmp_path / "a.png")
    with (
        Client("127.0.0.1", "colours", port=server.grpc_port) as one,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        list(one.predict_files([tmp_path / "a.png"] * 3))
    ours = [warning for warning in caught if warning.category is PredictionWarning]
    assert len(ours) == (0 if about.startswith("{") else 2)


def test_no_question_goes_to_what_a_model_says_of_itself(
    colours: tuple[ModelServer, str], connect: Connect
) -> None:
    with pytest.raises(InvalidInput, match="takes no text: serving_default takes pixels"):
        list(connect(colours[0]).predict_texts(["who are you?"]))


@pytest.mark.slow
def test_a_client_notices_that_another_version_takes_other_inputs(
    tmp_path: Path, transport: str
) -> None:
    """It went on to refuse what the new version takes, until it was restarted."""
    base = tmp_path / "models"
    export_models(("half_plus_two", base / "1", "2"), ("mnist", tmp_path / "2", ""))
    flags = ["--file_system_poll_wait_seconds=1"]
    with (
        running_server(base, "mnist", flags=flags) as server,
        Client("127.0.0.1", "mnist", port=port_of(server, transport), transport=transport) as one,
    ):
        assert one.predict([1.0]).outputs["y"].tolist() == [2.5]
        (tmp_path / "2").rename(base / "2")
        while (newest := one.status().versions[0]).version != 2 or newest.state != "AVAILABLE":
            time.sleep(0.02)
        images = digit(3)[np.newaxis]
        assert one.predict({"images": images}).outputs["predictions"].tolist() == [3]
        with pytest.raises(InvalidInput, match="has no input 'x'"):
            one.predict({"x": [1.0]})


def test_metadata_that_was_asked_for_is_kept(mnist: ModelServer, connect: Connect) -> None:
    one = connect(mnist)
    asked: list[None] = []
    real = one._transport.metadata

    def count(deadline: Any) -> Any:
        asked.append(None)
        return real(deadline)

    one._transport.metadata = count  # type: ignore[method-assign]
    one.metadata()
    one.predict(digit(1)[np.newaxis])
    one.predict(digit(1)[np.newaxis])
    assert len(asked) == 1
    for _ in range(2):
        with pytest.raises(InvalidInput):
            one.predict(np.zeros((1, 3)))
    assert len(asked) == 3  # Anew each time: another version may have taken over.


def test_a_version_that_takes_over_meanwhile_is_said(
    mnist: ModelServer, connect: Connect, ten: Path
) -> None:
    one = connect(mnist)
    real = one._transport.metadata

    def fails(rows: int) -> None:
        raise ServerError(one.address, "INVALID_ARGUMENT", "shapes differ")

    with counted(one, fails):
        found = one.predict_files([ten], rows=5)
        metadata = real(Deadline(10))
        other = dict(metadata.signatures)
        other["serving_default"] = other["image_bytes"]
        answers = iter(found)

        def another(deadline: Any) -> Any:
            one._transport.metadata = lambda _: type(metadata)("mnist", 4, other)
            return metadata

        one._transport.metadata = another  # type: ignore[method-assign]
        with pytest.raises(InvalidInput, match="Version 4 of model 'mnist' has taken over"):
            next(answers)
