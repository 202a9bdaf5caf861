"""The asyncio client against a real server: what waiting differs in. The rest is shared code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client import (
    AsyncClient,
    ConnectionFailed,
    DeadlineExceeded,
    FileError,
    InvalidInput,
    ServerError,
)
from tests.serving_fixtures import ModelServer

from ..conftest import digit, port_of
from ..flaky import flaky_server

Run = Callable[..., Any]


@pytest.fixture
def run(transport: str) -> Run:
    """Run `use`, a function of a client of a server; other arguments are the client's own."""

    def call(
        server: ModelServer, use: Callable[[AsyncClient], Awaitable[Any]], **settings: Any
    ) -> Any:
        async def main() -> Any:
            settings.setdefault("port", port_of(server, transport))
            settings.setdefault("model", server.name)
            async with AsyncClient("127.0.0.1", transport=transport, **settings) as client:
                return await use(client)

        return asyncio.run(main())

    return call


def test_many_predictions_are_under_way_at_once(run: Run, mnist: ModelServer) -> None:
    async def use(client: AsyncClient) -> list[int]:
        answers = await asyncio.gather(
            *(client.predict(digit(k % 10)[np.newaxis]) for k in range(30))
        )
        return [int(answer.outputs["predictions"][0]) for answer in answers]

    assert run(mnist, use) == [k % 10 for k in range(30)]


def test_status_and_metadata(run: Run, mnist: ModelServer) -> None:
    async def use(client: AsyncClient) -> tuple[Any, Any]:
        assert (await client.choose_signature()).name == "predict_object"
        return await client.status(), await client.metadata()

    status, metadata = run(mnist, use)
    assert status.available
    assert list(metadata.signatures) == ["image_bytes", "predict_object", "serving_default"]


def test_files_come_in_order_and_errors_go_aside(
    run: Run, mnist: ModelServer, tmp_path: Path
) -> None:
    for k in (3, 5):
        pixels = np.uint8(digit(k) * 255).reshape(28, 28)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    errors: list[FileError] = []

    async def use(client: AsyncClient) -> list[Any]:
        paths = [tmp_path / "missing.png", tmp_path]
        files = client.predict_files(paths, top=1, labels={5: "five"}, on_error=errors.append)
        return [(answer.prediction, answer.label) async for answer in files]

    assert run(mnist, use) == [(3, None), (5, "five")]
    assert [error.path for error in errors] == [str(tmp_path / "missing.png")]


def test_texts(run: Run, kinds: ModelServer) -> None:
    async def use(client: AsyncClient) -> list[Any]:
        texts = client.predict_texts(["abc"], input="in_bytes", output="text")
        return [answer.prediction async for answer in texts]

    assert run(kinds, use) == ["ABC"]


def test_errors_are_those_of_the_blocking_client(
    run: Run, mnist: ModelServer, transport: str, held_port: int
) -> None:
    async def predict(client: AsyncClient) -> None:
        await client.predict(np.zeros((1, 785), np.float32))

    with pytest.raises(InvalidInput, match="shape"):
        run(mnist, predict)
    with pytest.raises(ServerError, match="NOT_FOUND") as caught:
        run(mnist, predict, model="mnst")
    assert caught.value.model == "mnst"
    other = "rest" if transport == "grpc" else "grpc"
    with pytest.raises(ConnectionFailed, match=f"Use the transport `{other}`"):
        run(mnist, predict, port=port_of(mnist, other))
    with pytest.raises(ConnectionFailed, match="Connection refused"):
        run(mnist, predict, port=held_port, retries=0)


def test_a_call_that_takes_too_long_ends_at_its_deadline(run: Run, kinds: ModelServer) -> None:
    async def use(client: AsyncClient) -> None:
        await client.predict(np.array([5000], np.int32), signature="slow")

    with pytest.raises(DeadlineExceeded, match="within 0.25 s"):
        run(kinds, use, timeout=0.25)


def test_a_call_can_be_cancelled_and_the_client_lives_on(run: Run, kinds: ModelServer) -> None:
    async def use(client: AsyncClient) -> Any:
        await client.metadata()
        slow = client.predict(np.array([5000], np.int32), signature="slow")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow, 0.05)
        return (await client.predict([1.5], signature="echo_float32")).outputs["y"].tolist()

    assert run(kinds, use) == [1.5]


def test_an_unavailable_server_is_asked_again(run: Run, mnist: ModelServer, transport: str) -> None:
    async def use(client: AsyncClient) -> Any:
        return await client.status()

    with flaky_server(transport, failures=2) as flaky:
        assert run(mnist, use, port=flaky.port).versions == ()
    assert len(flaky.requests) == 3
