"""How requests become one run of the model and get their share of its outputs, or can't.

The queue alone, with a function in the place of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, wait

import numpy as np
import pytest

from serving.batching.parameters import BatchingParameters
from serving.batching.queue import BatchScheduler
from tests.serving.asking import eventually
from tests.serving.batching.doubler import Ask, Doubler, busy, refused, rows


def together(
    model: Doubler, ask: Ask, parameters: BatchingParameters, *requests: Mapping[str, np.ndarray]
) -> list[Future[dict[str, np.ndarray]]]:
    """Run requests as one batch, and wait for it."""
    queue = BatchScheduler(1).queue(model, parameters)
    with busy(model, queue, ask):
        futures = []
        for position, request in enumerate(requests):
            futures.append(ask(queue, request))
            eventually(lambda n=position: sum(len(b.tasks) for b in queue.waiting) == n + 1)
    wait(futures, 30)
    assert len(model.runs) <= 2
    return futures


WIDE = {"x": np.array([[1, 2, 3]], np.float32)}
NARROW = {"x": np.array([[7, 8]], np.float32)}


def test_different_shapes_do_not_go_together_without_padding(model: Doubler, ask: Ask) -> None:
    one, other = together(model, ask, BatchingParameters(), WIDE, NARROW)
    assert refused(one) == refused(other)
    code, text = refused(one)
    assert code == "FAILED_PRECONDITION"
    assert text.startswith(
        "Tensors with name 'x' from different tasks have different shapes and padding is turned off"
    )


def test_padding_repeats_the_first_element_of_the_shorter(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(pad_variable_length_inputs=True)
    wide, narrow = together(model, ask, parameters, WIDE, NARROW)
    assert wide.result()["y"].tolist() == [[2, 4, 6]]
    assert narrow.result()["y"].tolist() == [[14, 16, 14]]


def test_different_types_do_not_go_together(model: Doubler, ask: Ask) -> None:
    doubles = {"x": WIDE["x"].astype(np.float64)}
    for future in together(model, ask, BatchingParameters(), WIDE, doubles):
        assert refused(future)[0] == "INVALID_ARGUMENT"


def test_a_batch_is_filled_up_to_an_allowed_size_and_nobody_sees_it(
    model: Doubler, ask: Ask
) -> None:
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))
    queue = BatchScheduler(1).queue(model, parameters)
    assert ask(queue, rows(1, 2, 3)).result(30)["y"].ravel().tolist() == [2, 4, 6]
    assert ask(queue, {"x": np.zeros((0, 1), np.float32)}).result(30)["y"].shape == (0, 1)
    assert ask(queue, rows(*range(5))).result(30)["y"].ravel().tolist() == [0, 2, 4, 6, 8]
    assert [len(each) for each in model.runs] == [4, 0, 8]
    assert model.runs[0][:3] == [1, 2, 3]


def test_large_requests_are_split_where_that_is_wanted(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(
        max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=4
    )
    queue = BatchScheduler(1).queue(model, parameters)
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
    queue = BatchScheduler(1).queue(Doubler(), BatchingParameters(max_batch_size=3))
    assert refused(ask(queue, inputs, [fetch])) == (code, text)
    assert ask(queue, rows(1)).result(30)["y"].item() == 2
