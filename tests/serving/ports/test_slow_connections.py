"""Connections whose request never ends, and more connections than there may be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import uvicorn

from serving.event_loop import EventLoop
from serving.ports.rest.protocol import BoundedHttpToolsProtocol


async def application(scope: dict, receive, send) -> None:
    """Read the body and answer with its length."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Impatient(BoundedHttpToolsProtocol):
    most_connections = 3
    header_seconds = 0.3
    body_seconds = 0.3


class Patient(Impatient):
    """Its own pauses, and those of a busy machine, are no reason for it to end a connection."""

    header_seconds = 60
    body_seconds = 3


@pytest.fixture
def protocol() -> type[BoundedHttpToolsProtocol]:
    return Impatient


patient = pytest.mark.parametrize("protocol", [Patient], ids=["patient"])


@pytest.fixture
def port(loop: EventLoop, protocol: type[BoundedHttpToolsProtocol]) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(application, port=0, http=protocol, lifespan="off", log_config=None)
    )
    server.config.load()

    async def start() -> asyncio.Server:
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        return server.servers[0]

    listening = loop.run(start())
    yield listening.sockets[0].getsockname()[1]
    loop.run(server.shutdown())


HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n"


async def exchange(
    port: int, *parts: bytes, pause: float = 0.0, sent: list[float] | None = None
) -> bytes:
    """Send parts with pauses between; return what comes until the server closes, or answers.

    When each part went is put into `sent`.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            if sent is not None:
                sent.append(time.monotonic())
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(1000), 60)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "parts",
    [(), (b"POST / HT",), (HEAD[:-2],), (HEAD, b"12345")],
    ids=["nothing", "part of a line", "part of the headers", "part of the body"],
)
def test_a_request_that_never_ends_ends_its_connection(port: int, parts: tuple[bytes, ...]) -> None:
    assert asyncio.run(exchange(port, *parts)) == b""


def test_headers_that_drip_end_the_connection(port: int) -> None:
    drops = [HEAD[:20], *(HEAD[at : at + 1] for at in range(20, 40))]
    assert asyncio.run(exchange(port, *drops, pause=0.1)) == b""


@patient
def test_a_body_that_comes_in_parts_is_read(port: int) -> None:
    """Each part in time, and all of them together not."""
    for _ in range(5):
        sent: list[float] = []
        reply = asyncio.run(exchange(port, HEAD, *([b"12345"] * 4), pause=1, sent=sent))
        longest = max(late - early for early, late in pairwise(sent))
        # Else the machine has paused for so long that a part was late.
        if reply or longest < Patient.body_seconds / 2:
            break
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.endswith(b"20")


@patient
def test_connections_above_the_number_are_closed_and_the_others_go_on(port: int) -> None:
    async def many() -> list[bytes]:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        refused = await exchange(port, HEAD + b"x" * 20)
        for reader, writer in waiting:
            writer.write(HEAD + b"x" * 20)
            await reader.readuntil(b"\r\n\r\n20")
            writer.close()
        # Until the server has seen that they have gone.
        while not (answered := await exchange(port, HEAD + b"x" * 20)):
            await asyncio.sleep(0.02)
        return [refused, answered]

    refused, answered = asyncio.run(many())
    assert refused == b""
    assert answered.endswith(b"20")
