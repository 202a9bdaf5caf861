"""The health service, apart from a server."""

from __future__ import annotations

import asyncio

from grpc_health.v1 import health_pb2

from serving.event_loop import EventLoop
from serving.ports.grpc.health import Health


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
