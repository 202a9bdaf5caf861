"""What runs on the event loop of a port: calls from threads, batches, places, and who goes away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from serving.batching.parameters import BatchingParameters
from serving.batching.queue import BatchQueue, BatchScheduler
from serving.errors import ServingError
from serving.event_loop import EventLoop
from serving.ports.grpc.health import Health
from serving.ports.threads import RequestThreads
from tests.serving.batching.test_batching import LONG_MICROS, Doubler, refused, rows
from tests.serving.models.test_versions import eventually


@pytest.fixture(scope="module")
def loop() -> EventLoop:
    return EventLoop("test")


@pytest.fixture
def model() -> Iterator[Doubler]:
    model = Doubler()
    yield model
    model.go_on()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_calls_from_threads_are_all_made_in_the_order_of_each(loop: EventLoop) -> None:
    calls: list[tuple[int, int]] = []
    with ThreadPoolExecutor(8) as threads:

        def call(thread: int) -> None:
            for number in range(1000):
                loop.call_soon(calls.append, (thread, number))

        list(threads.map(call, range(8)))
    eventually(lambda: len(calls) == 8000)
    for thread in range(8):
        assert [n for t, n in calls if t == thread] == list(range(1000))


def started(loop: EventLoop, queue: BatchQueue, *numbers: float) -> list[Future[Any]]:
    """Bring a request of one row for each number, at once, as a port does."""

    async def bring() -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(queue.run_on(loop, rows(n), ["y"])) for n in numbers]

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


def test_a_large_request_is_split(loop: EventLoop, model: Doubler) -> None:
    parameters = BatchingParameters(
        max_batch_size=10, max_execution_batch_size=2, enable_large_batch_splitting=True
    )
    queue = BatchScheduler(1).queue(model, parameters)
    outputs = loop.run(queue.run_on(loop, rows(1, 2, 3, 4, 5), ["y"]))
    assert outputs["y"].ravel().tolist() == [2, 4, 6, 8, 10]
    assert model.runs == [[1, 2], [3, 4], [5]]


def test_errors_of_a_batch_and_of_a_request_reach_their_callers(
    loop: EventLoop, model: Doubler
) -> None:
    queue = BatchScheduler(1).queue(model, BatchingParameters(max_batch_size=1))
    assert refused(lambda: loop.run(queue.run_on(loop, rows(-1), ["y"]))) == (
        "INVALID_ARGUMENT",
        "negative",
    )
    assert refused(lambda: loop.run(queue.run_on(loop, rows(1, 2), ["y"]))) == (
        "INVALID_ARGUMENT",
        "Task size 2 is larger than maximum input batch size 1",
    )


def test_a_request_that_is_given_up_ends_when_its_batch_has_run(
    loop: EventLoop, model: Doubler
) -> None:
    """The model is held by the request: unloaded while it runs, it would crash the server."""
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    ended = threading.Event()

    async def request() -> None:
        try:
            await queue.run_on(loop, rows(1), ["y"])
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


@pytest.mark.parametrize(("quick", "at_a_time"), [(True, 1), (False, 2)])
def test_of_a_quick_model_one_batch_runs_at_a_time(
    model: Doubler, threads: ThreadPoolExecutor, quick: bool, at_a_time: int
) -> None:
    queue = BatchScheduler(2).queue(model, BatchingParameters(max_batch_size=1))
    queue.quick = quick  # Measured, it would depend on the machine.
    model.hold()
    futures = [threads.submit(queue.run, rows(n), ["y"]) for n in range(2)]
    eventually(lambda: queue.running == at_a_time and len(queue.waiting) == 2 - at_a_time)
    model.go_on()
    assert [future.result(30)["y"].item() for future in futures] == [0, 2]


def test_a_batch_measures_whether_its_model_is_quick() -> None:
    def model(*_: object) -> dict[str, np.ndarray]:
        assert not threading.Event().wait(seconds)
        return {"y": np.zeros((1, 1))}

    queue = BatchScheduler(1).queue(model, BatchingParameters())
    seconds = 0.02
    queue.run(rows(1), ["y"])
    assert not queue.quick


def test_a_request_given_up_before_a_thread_is_free_is_never_answered(loop: EventLoop) -> None:
    threads = RequestThreads(loop, 1, 10, "test")
    go_on = threading.Event()
    called: list[str] = []

    async def both() -> None:
        first = asyncio.create_task(threads.run(go_on.wait, 30))
        second = asyncio.create_task(threads.run(called.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        assert not first.done()
        go_on.set()
        assert await first

    loop.run(both())
    assert loop.run(threads.run(lambda: "third")) == "third"
    assert not called


def test_a_request_given_up_while_it_is_answered_is_waited_for(loop: EventLoop) -> None:
    threads = RequestThreads(loop, 1, 10, "test")
    begun, go_on = threading.Event(), threading.Event()

    def answer() -> None:
        begun.set()
        assert go_on.wait(30)

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(threads.run(answer))

    async def end(task: asyncio.Task[None]) -> bool:
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        go_on.set()
        await asyncio.wait([task])
        return task.cancelled()

    task = loop.run(begin())
    assert begun.wait(30)
    assert loop.run(end(task))


def test_places_are_given_back(loop: EventLoop) -> None:
    threads = RequestThreads(loop, 1, 1, "test")
    for _ in range(2):
        with threads, threads, pytest.raises(ServingError, match="2 requests run or wait"), threads:
            pass


def test_one_who_leaves_does_not_end_the_watch_of_others(loop: EventLoop) -> None:
    async def watch() -> list[int]:
        health = Health(["known"])
        request = health_pb2.HealthCheckRequest(service="known")
        first, second = health.Watch(request, None), health.Watch(request, None)
        told = [(await anext(first)).status, (await anext(second)).status]
        waiting = [asyncio.ensure_future(anext(one)) for one in (first, second)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        health.set(serving=True)
        health.set(serving=True)
        told.append((await waiting[1]).status)
        health.set(serving=False)
        told.append((await anext(second)).status)
        return told

    assert loop.run(watch()) == [2, 2, 1, 2]
