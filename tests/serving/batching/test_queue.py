"""Which requests run together, who waits, who is refused, and in which order batches run.

The queue alone, with a function in the place of the model.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait
from typing import Any

import pytest

from serving.batching.parameters import BatchingParameters
from serving.batching.queue import BatchQueue
from serving.batching.scheduler import BatchScheduler
from serving.event_loop import EventLoop
from tests.serving.batching.doubler import LONG_MICROS, Ask, Doubler, busy, refused, rows
from tests.waiting import eventually


def test_what_waits_for_the_thread_runs_as_one_and_each_gets_its_own(
    model: Doubler, ask: Ask
) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters())
    with busy(model, queue, ask) as first:
        waiting = [ask(queue, rows(n, n + 0.5)) for n in range(5)]
        eventually(lambda: queue.line.waiting and queue.line.waiting[0].rows == 10)
    assert first.result(30)["y"].tolist() == [[200]]
    for n, future in enumerate(waiting):
        assert future.result(30)["y"].tolist() == [[2 * n], [2 * n + 1]]
    assert [len(each) for each in model.runs] == [1, 10]


def test_a_lone_request_waits_for_nobody(model: Doubler, ask: Ask) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters())
    assert ask(queue, rows(1)).result(30)["y"].tolist() == [[2]]
    assert model.runs == [[1]]


def test_a_full_batch_runs_before_its_time_is_up(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=LONG_MICROS)
    queue = BatchQueue(BatchScheduler(1), model, parameters)
    futures = [ask(queue, rows(n)) for n in range(4)]
    assert [future.result(30)["y"].item() for future in futures] == [0, 2, 4, 6]
    assert [sorted(each) for each in model.runs] == [[0, 1, 2, 3]]


def test_a_batch_that_no_other_joins_runs_when_its_time_is_up(model: Doubler, ask: Ask) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters(batch_timeout_micros=20_000))
    assert ask(queue, rows(1)).result(30)["y"].item() == 2


def test_a_request_that_no_longer_fits_closes_the_batch(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(max_batch_size=3, batch_timeout_micros=LONG_MICROS)
    queue = BatchQueue(BatchScheduler(1), model, parameters)
    first = ask(queue, rows(1, 2))
    eventually(lambda: queue.line.waiting)
    second = ask(queue, rows(3, 4, 5))
    assert first.result(30)["y"].ravel().tolist() == [2, 4]
    assert second.result(30)["y"].ravel().tolist() == [6, 8, 10]
    assert model.runs == [[1, 2], [3, 4, 5]]


def test_queues_take_turns_for_the_shared_thread(model: Doubler, ask: Ask) -> None:
    """A busy model with many full batches must not make another wait for all of them."""
    scheduler = BatchScheduler(1)
    one = BatchQueue(scheduler, model, BatchingParameters(max_batch_size=1))
    other = BatchQueue(scheduler, model, BatchingParameters(max_batch_size=1))
    with busy(model, one, ask):
        futures = []
        for n in range(4):
            futures.append(ask(one, rows(n)))
            eventually(lambda n=n: len(one.line.waiting) == n + 1)
        futures.append(ask(other, rows(50)))
        eventually(lambda: other.line.waiting)
    for future in futures:
        future.result(30)
    assert model.runs.index([50]) <= 2


def test_as_many_batches_run_side_by_side_as_there_are_threads(model: Doubler, ask: Ask) -> None:
    queue = BatchQueue(BatchScheduler(2), model, BatchingParameters(max_batch_size=1))
    model.hold()
    futures = [ask(queue, rows(n)) for n in range(3)]
    try:
        assert model.started.acquire(timeout=30) and model.started.acquire(timeout=30)
        eventually(lambda: len(queue.line.waiting) == 1)
        assert not model.started.acquire(blocking=False)
    finally:
        model.go_on()
    assert sorted(future.result(30)["y"].item() for future in futures) == [0, 2, 4]


def test_outputs_that_only_some_want_do_not_part_a_batch(model: Doubler, ask: Ask) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters())
    with busy(model, queue, ask):
        one = ask(queue, rows(1))
        other = ask(queue, rows(2), ["z"])
        eventually(lambda: queue.line.waiting and queue.line.waiting[0].rows == 2)
    assert {name: value.item() for name, value in one.result(30).items()} == {"y": 2}
    assert {name: value.item() for name, value in other.result(30).items()} == {"z": 6}
    assert len(model.runs) == 2


def test_a_full_queue_refuses(model: Doubler, ask: Ask) -> None:
    parameters = BatchingParameters(max_batch_size=2, max_enqueued_batches=2)
    queue = BatchQueue(BatchScheduler(1), model, parameters)
    with busy(model, queue, ask):
        futures = [ask(queue, rows(n, n)) for n in range(2)]
        eventually(lambda: len(queue.line.waiting) == 2)
        assert refused(ask(queue, rows(1))) == (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 2 "
            "batches enqueued and max_enqueued_batches is 2",
        )
    assert sorted(future.result(30)["y"][0].item() for future in futures) == [0, 2]
    assert ask(queue, rows(1)).result(30)["y"].item() == 2, "it takes requests again"


def test_time_in_the_queue_counts(model: Doubler, ask: Ask) -> None:
    scheduler = BatchScheduler(1, clock=lambda: model.now)
    queue = BatchQueue(scheduler, model, BatchingParameters(max_batch_size=1))
    with busy(model, queue, ask):
        late = ask(queue, rows(1), milliseconds=1000)
        in_time = ask(queue, rows(2), milliseconds=3000)
        eventually(lambda: len(queue.line.waiting) == 2)
        model.now += 2
    assert refused(late) == (
        "RESOURCE_EXHAUSTED",
        "Run() timeout exceeded while waiting in batching queue",
    )
    assert in_time.result(30)["y"].item() == 4
    assert model.runs == [[100], [2]], "nothing was computed for the late one"
    assert model.limits == [0, 1000], "of its 3 s the other had 1 left"


def test_the_most_patient_request_sets_the_time_limit(model: Doubler, ask: Ask) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters())
    with busy(model, queue, ask):
        futures = [
            ask(queue, rows(1), milliseconds=milliseconds) for milliseconds in (50_000, 90_000)
        ]
        eventually(lambda: queue.line.waiting and queue.line.waiting[0].rows == 2)
    for future in futures:
        future.result(30)
    assert model.limits[0] == 0, "no limit stays none"
    assert 50_000 < model.limits[1] <= 90_000


def started(loop: EventLoop, queue: BatchQueue, *numbers: float) -> list[Future[Any]]:
    """Bring a request of one row for each number, at once, as a port does."""

    async def bring() -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(queue.run(loop, rows(n), ["y"])) for n in numbers]

    async def outcome(task: asyncio.Task[Any]) -> Any:
        return (await task)["y"].tolist()

    return [loop.start(outcome(task)) for task in loop.run(bring())]


def test_requests_that_a_loop_has_at_hand_run_as_one(loop: EventLoop, model: Doubler) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters())
    futures = started(loop, queue, *range(20))
    assert [future.result(30) for future in futures] == [[[2 * n]] for n in range(20)]
    assert len(model.runs) == 1


def test_what_comes_while_a_batch_runs_is_the_next_one(loop: EventLoop, model: Doubler) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters())
    model.hold()
    futures = started(loop, queue, 100)
    assert model.started.acquire(timeout=30)
    for n in range(5):
        futures += started(loop, queue, n)
    eventually(lambda: bool(queue.line.waiting) and queue.line.waiting[0].rows == 5)
    model.go_on()
    assert [future.result(30)[0][0] for future in futures] == [200, 0, 2, 4, 6, 8]
    assert [len(each) for each in model.runs] == [1, 5]


def test_batches_wait_for_more_without_threads(loop: EventLoop, model: Doubler) -> None:
    parameters = BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG_MICROS)
    scheduler = BatchScheduler(8)
    queues = [BatchQueue(scheduler, model, parameters) for _ in range(8)]
    before = threading.active_count()
    first = [started(loop, queue, 1)[0] for queue in queues]
    eventually(lambda: all(queue.line.waiting for queue in queues))
    assert threading.active_count() <= before + 1, "one timer for all of them"
    second = [started(loop, queue, 2)[0] for queue in queues]
    assert [future.result(30) for future in first] == 8 * [[[2]]]
    assert [future.result(30) for future in second] == 8 * [[[4]]]


def test_a_request_that_is_given_up_ends_when_its_batch_has_run(
    loop: EventLoop, model: Doubler
) -> None:
    """The model is held by the request: unloaded while it runs, it would crash the server."""
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters())
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


def batches_beside(model: Doubler, queue: BatchQueue, ask: Ask, *requests: float) -> int:
    """Return how many of some requests, each a batch, run at the same time."""
    model.hold()
    futures = [ask(queue, rows(*[1] * size)) for size in requests]

    def running() -> int:
        # Under the lock, a batch that has come and may run does so already.
        with queue._lock:
            line = queue.line
            return line.running if line.running + len(line.waiting) == len(requests) else 0

    count: int = eventually(running)
    model.go_on()
    wait(futures, 30)
    return count


@pytest.mark.parametrize(
    ("before", "at_a_time"),
    [([0.004], 1), ([0.006], 2), ([0.004, 0.006], 2), ([0.006, 0.004], 1)],
)
def test_while_batches_of_a_model_are_quick_they_run_one_at_a_time(
    model: Doubler, ask: Ask, before: list[float], at_a_time: int
) -> None:
    scheduler = BatchScheduler(2, clock=lambda: model.now)
    queue = BatchQueue(scheduler, model, BatchingParameters(max_batch_size=1))
    for model.seconds in before:
        assert ask(queue, rows(1)).result(30)["y"].item() == 2
    assert batches_beside(model, queue, ask, 1, 1) == at_a_time


def test_a_batch_of_more_rows_than_were_ever_quick_holds_up_nobody(
    model: Doubler, ask: Ask
) -> None:
    scheduler = BatchScheduler(2, clock=lambda: model.now)
    queue = BatchQueue(scheduler, model, BatchingParameters(max_batch_size=3))
    ask(queue, rows(1)).result(30)
    assert batches_beside(model, queue, ask, 3, 3) == 2


def test_a_batch_that_is_not_quick_this_time_holds_up_nobody(model: Doubler, ask: Ask) -> None:
    """A signature with a loop can take any time for the same number of rows."""
    scheduler = BatchScheduler(2, clock=lambda: model.now)
    queue = BatchQueue(scheduler, model, BatchingParameters(max_batch_size=1))
    ask(queue, rows(1)).result(30)
    with busy(model, queue, ask):
        second = ask(queue, rows(2))
        eventually(lambda: queue.line.offered)
        model.now += 0.006
        eventually(lambda: queue.line.running == 2)
    assert second.result(30)["y"].item() == 4
