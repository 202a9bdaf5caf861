"""How requests become one run of the model and get their share of its outputs, or can't.

The queue alone, with a function in the place of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, wait

import numpy as np
import pytest

from serving.batching.merge import merge
from serving.batching.parameters import BatchingParameters
from serving.batching.queue import BatchQueue
from serving.batching.scheduler import BatchScheduler
from serving.errors import Code, ServingError
from tests.serving.batching.doubler import Ask, Doubler, busy, refused, rows
from tests.waiting import eventually


def together(
    model: Doubler, ask: Ask, parameters: BatchingParameters, *requests: Mapping[str, np.ndarray]
) -> list[Future[dict[str, np.ndarray]]]:
    """Bring requests that meet in one batch, and wait for their ends."""
    queue = BatchQueue(BatchScheduler(1), model, parameters)

    def waiting() -> int:
        with queue._lock:
            return sum(len(batch.tasks) for batch in queue.line.waiting)

    with busy(model, queue, ask):
        futures = []
        for request in requests:
            futures.append(ask(queue, request))
            eventually(lambda: waiting() == len(futures))
    wait(futures, 30)
    return futures


WIDE = {"x": np.array([[1, 2, 3]], np.float32)}
NARROW = {"x": np.array([[7, 8]], np.float32)}


def test_different_shapes_run_apart_without_padding(model: Doubler, ask: Ask) -> None:
    one, other, third = together(model, ask, BatchingParameters(), WIDE, NARROW, WIDE)
    assert one.result()["y"].tolist() == third.result()["y"].tolist() == [[2, 4, 6]]
    assert other.result()["y"].tolist() == [[14, 16]]
    assert model.runs == [[100], [1, 2, 3, 1, 2, 3], [7, 8]], "those alike stay together"


def test_padding_repeats_the_first_element_of_the_shorter(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(pad_variable_length_inputs=True)
    wide, narrow = together(model, ask, parameters, WIDE, NARROW)
    assert wide.result()["y"].tolist() == [[2, 4, 6]]
    assert narrow.result()["y"].tolist() == [[14, 16, 14]]


def test_padding_of_texts_is_empty_where_there_is_no_first_one() -> None:
    empty, two = np.empty((1, 0), object), np.array([[b"a", b"b"]], object)
    parts = merge([{"x": empty}, {"x": two}], 0, pad=True)["x"]
    assert np.concatenate(parts).tolist() == [[b"", b""], [b"a", b"b"]]
    numbers = [{"x": np.zeros((1, size), np.int64)} for size in (0, 2)]
    assert np.concatenate(merge(numbers, 0, pad=True)["x"]).tolist() == [[0, 0], [0, 0]]


def test_different_types_run_apart(model: Doubler, ask: Ask) -> None:
    doubles = {"x": WIDE["x"].astype(np.float64)}
    one, other = together(model, ask, BatchingParameters(), WIDE, doubles)
    assert (one.result()["y"].dtype, other.result()["y"].dtype) == (np.float32, np.float64)


def test_one_bad_request_gets_its_error_and_its_neighbours_their_answers(
    model: Doubler, ask: Ask
) -> None:
    requests = [rows(n) for n in range(16)]
    requests[11] = rows(-1)
    futures = together(model, ask, BatchingParameters(), *requests)
    assert refused(futures.pop(11)) == ("INVALID_ARGUMENT", "negative")
    assert [future.result(30)["y"].item() for future in futures] == [
        2 * n for n in range(16) if n != 11
    ]
    assert len(model.runs) == 1 + 1 + 2 * 4, "its batch, and two halves each time"


def test_what_no_request_has_caused_is_not_run_again(model: Doubler, ask: Ask) -> None:
    model.error = ServingError(Code.DEADLINE_EXCEEDED, "too long")
    for future in together(model, ask, BatchingParameters(), rows(1), rows(2)):
        assert refused(future) == ("DEADLINE_EXCEEDED", "too long")
    assert model.runs == [[100], [1, 2]]


def test_a_batch_is_filled_up_to_an_allowed_size_and_nobody_sees_it(
    model: Doubler, ask: Ask
) -> None:
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))
    queue = BatchQueue(BatchScheduler(1), model, parameters)
    assert ask(queue, rows(1, 2, 3)).result(30)["y"].ravel().tolist() == [2, 4, 6]
    assert ask(queue, {"x": np.zeros((0, 1), np.float32)}).result(30)["y"].shape == (0, 1)
    assert ask(queue, rows(*range(5))).result(30)["y"].ravel().tolist() == [0, 2, 4, 6, 8]
    assert [len(each) for each in model.runs] == [4, 0, 8]
    assert model.runs[0][:3] == [1, 2, 3]


def test_large_requests_are_split_where_that_is_wanted(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(
        max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=4
    )
    queue = BatchQueue(BatchScheduler(1), model, parameters)
    assert ask(queue, rows(*range(10))).result(30)["y"].ravel().tolist() == list(range(0, 20, 2))
    assert [len(each) for each in model.runs] == [4, 4, 2]


@pytest.mark.parametrize(
    ("inputs", "fetch", "code", "text"),
    [
        (
            rows(*range(4)),
            "y",
            "INVALID_ARGUMENT",
            "Task size 4 is larger than maximum input batch size 3",
        ),
        (
            {"x": np.float32(1)},
            "y",
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            rows(1) | {"w": np.zeros(2, np.float32)},
            "y",
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        (rows(1), "scalar", "FAILED_PRECONDITION", "Batched output tensor has 0 dimensions"),
        (
            rows(1),
            "short",
            "FAILED_PRECONDITION",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
            "sizes of the input tensors",
        ),
    ],
)
def test_what_cannot_be_batched_is_refused(
    ask: Ask, inputs: dict[str, np.ndarray], fetch: str, code: str, text: str
) -> None:
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    queue = BatchQueue(BatchScheduler(1), Doubler(), BatchingParameters(max_batch_size=3))
    assert refused(ask(queue, inputs, [fetch])) == (code, text)
    assert ask(queue, rows(1)).result(30)["y"].item() == 2
