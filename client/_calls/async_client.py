"""The asyncio client: the same calls as the blocking one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .._transports.base import Endpoint, TransportName
from .._transports.tls import Security
from ..errors import FileError, PredictionError
from ..results import ExamplePrediction, ModelStatus, Prediction
from ..specs import ModelMetadata, Signature
from .core import Pause, Steps, T
from .examples import ExampleCall, ExampleCore

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from .._inputs.example import Example
    from .._transports.aio import AsyncTransport


class AsyncClient(ExampleCore["AsyncTransport"]):
    """Predictions of one model on one TensorFlow Serving server, from one event loop.

    Any number of calls may be under way at once; over gRPC all use one connection, over REST each
    takes a thread and a connection:

        async with AsyncClient("127.0.0.1", "mnist", port=31670) as client:
            answers = await asyncio.gather(*map(client.predict, batches))

    Args and errors are those of `Client`.
    """

    async def predict(
        self,
        inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
        *,
        signature: str | None = None,
    ) -> Prediction:
        """Return the model's answer to `inputs`: see `Client.predict`."""
        return await self._run(self._predict_steps(inputs, signature))

    async def predict_files(
        self,
        paths: Iterable[str | Path],
        *,
        signature: str | None = None,
        input: str | None = None,
        output: str | None = None,
        scale: tuple[float, float] | None = None,
        invert: bool = False,
        top: int = 0,
        labels: Mapping[int, str] | None = None,
        rows: int | None = None,
        on_error: Callable[[PredictionError], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> AsyncIterator[ExamplePrediction]:
        """Yield the model's answers to files: see `Client.predict_files`.

        Files are read, and `on_note` may be called, in another thread.
        """
        call = await self._run(
            self._example_steps(
                signature,
                input,
                output,
                top=top,
                labels=labels,
                rows=rows,
                scale=scale,
                invert=invert,
                on_error=on_error,
                on_note=on_note,
            )
        )
        async for answer in self._answers(call, call.reader.files(paths)):
            yield answer

    async def predict_texts(
        self,
        texts: Iterable[str],
        *,
        signature: str | None = None,
        input: str | None = None,
        output: str | None = None,
        top: int = 0,
        labels: Mapping[int, str] | None = None,
        rows: int | None = None,
        on_error: Callable[[PredictionError], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> AsyncIterator[ExamplePrediction]:
        """Yield the model's answers to texts: see `Client.predict_texts`."""
        call = await self._run(
            self._example_steps(
                signature,
                input,
                output,
                top=top,
                labels=labels,
                rows=rows,
                scale=None,
                invert=False,
                on_error=on_error,
                on_note=on_note,
            )
        )
        async for answer in self._answers(call, call.reader.texts(texts)):
            yield answer

    async def metadata(self) -> ModelMetadata:
        """Return the signatures of the model, as the server has them now."""
        return await self._run(self._metadata_steps())

    async def status(self) -> ModelStatus:
        """Return the state of all versions of the model."""
        return await self._run(self._status_steps())

    async def choose_signature(self, signature: str | None = None) -> Signature:
        """Return the signature that `predict` would call: see `Client.choose_signature`."""
        return await self._run(self._choose_steps(signature))

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _connect(
        self, transport: TransportName, endpoint: Endpoint, security: Security
    ) -> AsyncTransport:
        from .._transports.aio import AsyncGrpcTransport, AsyncRestTransport

        kind = AsyncGrpcTransport if transport == "grpc" else AsyncRestTransport
        return kind(endpoint, security)

    async def _run(self, steps: Steps[T]) -> T:
        # Not above: it takes 80 ms, which the command would pay too.
        import asyncio

        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Pause):
                        await asyncio.sleep(step.seconds)
                        answer = None
                    else:
                        answer = await step(self._transport)
                except PredictionError as exc:
                    step = steps.throw(exc)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _answers(
        self, call: ExampleCall, examples: Iterable[Example | FileError]
    ) -> AsyncIterator[ExamplePrediction]:
        import asyncio

        from .._inputs.batches import batches

        reading = batches(examples, call.limit)
        while batch := await asyncio.to_thread(self._next, reading):
            for answer in call.given(await self._run(self._batch_steps(batch, call))):
                yield answer
