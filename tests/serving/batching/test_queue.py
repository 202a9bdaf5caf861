"""Which requests run together, who waits, who is refused, and in which order batches run.

The queue alone, with a function in the place of the model.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from serving.batching.parameters import BatchingParameters
from serving.batching.queue import BatchQueue, BatchScheduler
from serving.event_loop import EventLoop
from tests.serving.asking import eventually
from tests.serving.batching.doubler import LONG_MICROS, Ask, Doubler, busy, refused, rows


def test_what_waits_for_the_thread_runs_as_one_and_each_gets_its_own(
    model: Doubler, ask: Ask
) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, ask) as first:
        waiting = [ask(queue, rows(n, n + 0.5)) for n in range(5)]
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 10)
    assert first.result(30)["y"].tolist() == [[200]]
    for n, future in enumerate(waiting):
        assert future.result(30)["y"].tolist() == [[2 * n], [2 * n + 1]]
    assert [len(each) for each in model.runs] == [1, 10]


def test_a_lone_request_waits_for_nobody(model: Doubler, ask: Ask) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    assert ask(queue, rows(1)).result(30)["y"].tolist() == [[2]]
    assert model.runs == [[1]]


def test_a_full_batch_runs_before_its_time_is_up(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=LONG_MICROS)
    queue = BatchScheduler(1).queue(model, parameters)
    futures = [ask(queue, rows(n)) for n in range(4)]
    assert [future.result(30)["y"].item() for future in futures] == [0, 2, 4, 6]
    assert [sorted(each) for each in model.runs] == [[0, 1, 2, 3]]


def test_a_batch_that_no_other_joins_runs_when_its_time_is_up(model: Doubler, ask: Ask) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters(batch_timeout_micros=20_000))
    assert ask(queue, rows(1)).result(30)["y"].item() == 2


def test_a_request_that_no_longer_fits_closes_the_batch(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(max_batch_size=3, batch_timeout_micros=LONG_MICROS)
    queue = BatchScheduler(1).queue(model, parameters)
    first = ask(queue, rows(1, 2))
    eventually(lambda: queue.waiting)
    second = ask(queue, rows(3, 4, 5))
    assert first.result(30)["y"].ravel().tolist() == [2, 4]
    assert second.result(30)["y"].ravel().tolist() == [6, 8, 10]
    assert model.runs == [[1, 2], [3, 4, 5]]


def test_queues_take_turns_for_the_shared_thread(model: Doubler, ask: Ask) -> None:
    """A busy model with many full batches must not make another wait for all of them."""
    scheduler = BatchScheduler(1)
    one = scheduler.queue(model, BatchingParameters(max_batch_size=1))
    other = scheduler.queue(model, BatchingParameters(max_batch_size=1))
    with busy(model, one, ask):
        futures = []
        for n in range(4):
            futures.append(ask(one, rows(n)))
            eventually(lambda n=n: len(one.waiting) == n + 1)
        futures.append(ask(other, rows(50)))
        eventually(lambda: other.waiting)
    for future in futures:
        future.result(30)
    assert model.runs.index([50]) <= 2


def test_as_many_batches_run_side_by_side_as_there_are_threads(model: Doubler, ask: Ask) -> None:
    queue = BatchScheduler(2).queue(model, BatchingParameters(max_batch_size=1))
    model.hold()
    futures = [ask(queue, rows(n)) for n in range(3)]
    try:
        assert model.started.acquire(timeout=30) and model.started.acquire(timeout=30)
        eventually(lambda: len(queue.waiting) == 1)
        assert not model.started.acquire(blocking=False)
    finally:
        model.go_on()
    assert sorted(future.result(30)["y"].item() for future in futures) == [0, 2, 4]


def test_outputs_that_only_some_want_do_not_part_a_batch(model: Doubler, ask: Ask) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, ask):
        one = ask(queue, rows(1))
        other = ask(queue, rows(2), ["z"])
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 2)
    assert {name: value.item() for name, value in one.result(30).items()} == {"y": 2}
    assert {name: value.item() for name, value in other.result(30).items()} == {"z": 6}
    assert len(model.runs) == 2


def test_a_full_queue_refuses(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(max_batch_size=2, max_enqueued_batches=2)
    queue = BatchScheduler(1).queue(model, parameters)
    with busy(model, queue, ask):
        futures = [ask(queue, rows(n, n)) for n in range(2)]
        eventually(lambda: len(queue.waiting) == 2)
        assert refused(ask(queue, rows(1))) == (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 2 "
            "batches enqueued and max_enqueued_batches is 2",
        )
    assert sorted(future.result(30)["y"][0].item() for future in futures) == [0, 2]
    assert ask(queue, rows(1)).result(30)["y"].item() == 2, "it takes requests again"


def test_time_in_the_queue_counts(model: Doubler, ask: Ask) -> None:
    scheduler = BatchScheduler(1, clock=lambda: model.now)
    queue = scheduler.queue(model, BatchingParameters(max_batch_size=1))
    with busy(model, queue, ask):
        late = ask(queue, rows(1), milliseconds=1000)
        in_time = ask(queue, rows(2), milliseconds=3000)
        eventually(lambda: len(queue.waiting) == 2)
        model.now += 2
    assert refused(late) == (
        "RESOURCE_EXHAUSTED",
        "Run() timeout exceeded while waiting in batching queue",
    )
    assert in_time.result(30)["y"].item() == 4
    assert model.runs == [[100], [2]], "nothing was computed for the late one"
    assert model.limits == [0, 1000], "of its 3 s the other had 1 left"


def test_the_most_patient_request_sets_the_time_limit(model: Doubler, ask: Ask) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, ask):
        futures = [
            ask(queue, rows(1), milliseconds=milliseconds) for milliseconds in (50_000, 90_000)
        ]
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 2)
    for future in futures:
        future.result(30)
    assert model.limits[0] == 0, "no limit stays none"
    assert 50_000 < model.limits[1] <= 90_000


def test_one_bad_request_fails_its_batch_and_no_other(model: Doubler, ask: Ask) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, ask) as first:
        batch = [ask(queue, rows(n)) for n in (1, -1)]
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 2)
    for future in batch:
        assert refused(future) == ("INVALID_ARGUMENT", "negative")
    assert first.result(30)["y"].item() == 200
    assert ask(queue, rows(4)).result(30)["y"].item() == 8


def started(loop: EventLoop, queue: BatchQueue, *numbers: float) -> list[Future[Any]]:
    """Bring a request of one row for each number, at once, as a port does."""

    async def bring() -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(queue.run(loop, rows(n), ["y"])) for n in numbers]

    async def outcome(task: asyncio.Task[Any]) -> Any:
        return (await task)["y"].tolist()

    return [loop.start(outcome(task)) for task in loop.run(bring())]


def test_requests_that_a_loop_has_at_hand_run_as_one(loop: EventLoop, model: Doubler) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    futures = started(loop, queue, *range(20))
    assert [future.result(30) for future in futures] == [[[2 * n]] for n in range(20)]
    assert len(model.runs) == 1


def test_what_comes_while_a_batch_runs_is_the_next_one(loop: EventLoop, model: Doubler) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    model.hold()
    futures = started(loop, queue, 100)
    assert model.started.acquire(timeout=30)
    for n in range(5):
        futures += started(loop, queue, n)
    eventually(lambda: bool(queue.waiting) and queue.waiting[0].rows == 5)
    model.go_on()
    assert [future.result(30)[0][0] for future in futures] == [200, 0, 2, 4, 6, 8]
    assert [len(each) for each in model.runs] == [1, 5]


def test_a_batch_waits_for_more_without_a_thread(loop: EventLoop, model: Doubler) -> None:
    parameters = BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG_MICROS)
    queue = BatchScheduler(1).queue(model, parameters)
    before = threading.active_count()
    first = started(loop, queue, 1)[0]
    eventually(lambda: bool(queue.waiting))
    assert threading.active_count() <= before
    second = started(loop, queue, 2)[0]
    assert (first.result(30), second.result(30)) == ([[2]], [[4]])

    soon = BatchingParameters(batch_timeout_micros=20_000)
    alone = started(loop, BatchScheduler(1).queue(model, soon), 3)[0]
    assert alone.result(30) == [[6]]


def test_a_request_that_is_given_up_ends_when_its_batch_has_run(
    loop: EventLoop, model: Doubler
) -> None:
    """The model is held by the request: unloaded while it runs, it would crash the server."""
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    ended = threading.Event()

    async def request() -> None:
        try:
            await queue.run(loop, rows(1), ["y"])
        finally:
            ended.set()

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(request())

    async def cancelled(task: asyncio.Task[None]) -> bool:
        await asyncio.wait([task])
        return task.cancelled()

    model.hold()
    task = loop.run(begin())
    assert model.started.acquire(timeout=30)
    for _ in range(2):  # As the client does, and then the server when it stops.
        loop.call_soon(task.cancel)
        loop.run(asyncio.sleep(0))
        assert not ended.is_set()
    model.go_on()
    assert loop.run(cancelled(task))
    assert ended.is_set()


@pytest.mark.parametrize(("seconds", "at_a_time"), [(0.004, 1), (0.006, 2)])
def test_while_batches_of_a_model_are_quick_they_run_one_at_a_time(
    model: Doubler, ask: Ask, seconds: float, at_a_time: int
) -> None:
    scheduler = BatchScheduler(2, clock=lambda: model.now)
    queue = scheduler.queue(model, BatchingParameters(max_batch_size=1))
    model.seconds = seconds
    assert ask(queue, rows(1)).result(30)["y"].item() == 2
    model.hold()
    futures = [ask(queue, rows(n)) for n in range(2)]
    eventually(lambda: queue.running == at_a_time and len(queue.waiting) == 2 - at_a_time)
    model.go_on()
    assert [future.result(30)["y"].item() for future in futures] == [0, 2]


@pytest.mark.parametrize(("seconds", "quick"), [(0.004, True), (0.006, False)])
def test_every_batch_measures_whether_its_model_is_quick(
    model: Doubler, ask: Ask, seconds: float, quick: bool
) -> None:
    queue = BatchScheduler(1, clock=lambda: model.now).queue(model, BatchingParameters())
    for model.seconds in (0.01 - seconds, seconds):
        ask(queue, rows(1)).result(30)
        assert queue.quick is (model.seconds < 0.005)
    assert queue.quick is quick
