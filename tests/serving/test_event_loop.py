"""The event loop of a port: calls from threads, work in threads, and who goes away meanwhile."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from serving.event_loop import EventLoop
from tests.waiting import eventually


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


def test_a_request_given_up_before_a_thread_is_free_is_never_answered(loop: EventLoop) -> None:
    go_on = threading.Event()
    called: list[str] = []

    async def both() -> None:
        first = asyncio.create_task(loop.in_thread(go_on.wait, 30))
        second = asyncio.create_task(loop.in_thread(called.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        assert not first.done()
        go_on.set()
        assert await first

    loop.run(both())
    assert loop.run(loop.in_thread(lambda: "third")) == "third"
    assert not called


def test_a_request_given_up_while_it_is_answered_is_waited_for(loop: EventLoop) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer() -> None:
        begun.set()
        assert go_on.wait(30)

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(loop.in_thread(answer))

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
