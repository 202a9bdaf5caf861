"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .._transports.base import Endpoint, Transport, TransportName
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


class Client(ExampleCore[Transport]):
    """Predictions of one model on one TensorFlow Serving server.

    Connections are kept for the life of the client, which is safe to use from many threads:

        with Client("127.0.0.1", "mnist", port=31670) as client:
            client.predict(pixels).outputs["predictions"]

    Args:
        host: name or address of the server, without a port.
        model: name under which the server has the model.
        port: TF Serving's own when absent: 8500 for gRPC, 8501 for REST.
        transport: `grpc` or `rest`.
        signature: the one to call; absent, `predict_object`, `serving_default` or the only other.
        version: of the model; absent, the highest that is loaded.
        version_label: the one that the server's configuration calls so, e.g. `stable`, instead.
        timeout: seconds that one call may take in all.
        retries: how often a call is made again, after pauses from 0.1 s up and within the timeout,
            when the server is unavailable. Nothing else is tried again.
        tls: how to encrypt; absent, not at all.
        token: sent with each request as `Authorization: Bearer`; only with `tls`.

    Raises:
        SettingsError: a value makes no sense. No connection is made before the first call.
    """

    def predict(
        self,
        inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
        *,
        signature: str | None = None,
    ) -> Prediction:
        """Return the model's answer to `inputs`.

        The first call also asks for the model's metadata, to which the inputs are fitted.

        Args:
            inputs: arrays by input name, or one array for the only input, of the shape the model
                takes: for `images` of the MNIST example float32 [n, 784], 0..1, white on black.
                Other dtypes are converted where that loses no more than digits.
            signature: instead of the client's own.

        Raises:
            InvalidInput: signature or inputs are not the model's.
            ConnectionFailed, DeadlineExceeded, ServerError: there is no answer.
        """
        return self._run(self._predict_steps(inputs, signature))

    def predict_files(
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
    ) -> Iterator[ExamplePrediction]:
        """Yield the model's answers to files, in their order.

        Args:
            paths: files, of which each picture, text or row is one example: pictures; folders for
                all pictures directly in them; by the end of the name `.npy` arrays, `.json`
                tensors, `.csv` tables and `.txt`, one text a line; `-` for standard input.
            signature: instead of the client's own; without any, each kind of file goes to one that
                takes it: pictures to an input of encoded pictures, else to one of pixels.
            input: the one that pictures, texts and arrays go to; absent, the only one.
            output: the one that is the answer (see `ExamplePrediction`), or with `top` the one
                that is ranked.
            scale: the values of black and white in pixels; absent, those that the model says, else
                0 and 1 for floats (which `on_note` is told), 0 and 255 for integers.
            invert: whether pixels are inverted.
            top: how many of the surest classes to add.
            labels: names of the classes, e.g. of `read_labels`.
            rows: examples in one request at most, 256 when absent; it is halved if there is no
                answer in time, or the server takes no more.
            on_error: called with the error of each example that cannot be read or answered, in its
                place among the answers; absent, the error is raised.
            on_note: called once with each thing that is taken for granted; absent, it is a
                `PredictionWarning`.

        Raises:
            FileError: a file cannot be read, or does not fit the model.
            InvalidInput: the signature does not exist, or takes nothing of the kind.
            ConnectionFailed, DeadlineExceeded, ServerError: there is no answer.
        """
        call = self._run(
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
        yield from self._answers(call, call.reader.files(paths))

    def predict_texts(
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
    ) -> Iterator[ExamplePrediction]:
        """Yield the model's answers to texts, which go to an input of strings as UTF-8.

        Everything else is as for `predict_files`.

        Raises:
            InvalidInput: the signature does not exist, or takes no text.
            ConnectionFailed, DeadlineExceeded, ServerError: there is no answer.
        """
        call = self._run(
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
        yield from self._answers(call, call.reader.texts(texts))

    def metadata(self) -> ModelMetadata:
        """Return the signatures of the model, as the server has them now.

        Raises:
            ConnectionFailed, DeadlineExceeded, ServerError: there is no answer.
        """
        return self._run(self._metadata_steps())

    def status(self) -> ModelStatus:
        """Return the state of all versions of the model.

        Raises:
            ConnectionFailed, DeadlineExceeded, ServerError: there is no answer.
        """
        return self._run(self._status_steps())

    def choose_signature(self, signature: str | None = None) -> Signature:
        """Return the signature that `predict` would call.

        Raises:
            InvalidInput: it does not exist.
            ConnectionFailed, DeadlineExceeded, ServerError: there is no answer.
        """
        return self._run(self._choose_steps(signature))

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _connect(
        self, transport: TransportName, endpoint: Endpoint, security: Security
    ) -> Transport:
        # Each transport is imported only when it is used: gRPC alone takes 80 ms.
        if transport == "rest":
            from .._transports.rest import RestTransport

            return RestTransport(endpoint, security)
        from .._transports.grpc import GrpcTransport

        return GrpcTransport(endpoint, security)

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Pause):
                        time.sleep(step.seconds)
                        answer = None
                    else:
                        answer = step(self._transport)
                except PredictionError as exc:
                    step = steps.throw(exc)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def _answers(
        self, call: ExampleCall, examples: Iterable[Example | FileError]
    ) -> Iterator[ExamplePrediction]:
        from .._inputs.batches import batches

        reading = batches(examples, call.limit)
        while batch := self._next(reading):
            yield from call.given(self._run(self._batch_steps(batch, call)))
