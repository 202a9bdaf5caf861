"""The services of the gRPC port: PredictionService and ModelService.

All calls come in on one event loop. Requests for predictions are read and answered there, and only
the model runs in a thread; the other methods run in a thread as a whole.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from google.protobuf.message import Message  # type: ignore[import-untyped]
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from ... import metrics
from ...event_loop import EventLoop
from ...models.registry import Models
from ...predict.call import run
from . import api
from .methods import Context


class PredictionService:
    """`tensorflow.serving.PredictionService` over `Models`.

    Args:
        models: what is served.
        loop: what the calls come in on.
        as_content: answer Predict with `tensor_content` instead of typed fields.
    """

    def __init__(self, models: Models, loop: EventLoop, *, as_content: bool) -> None:
        self._models = models
        self._loop = loop
        self._methods = api.prediction_methods(as_content=as_content)

    async def Predict(self, request: predict_pb2.PredictRequest, context: Context) -> Message:
        """Run one signature on the inputs given."""
        return await self._answer(self._methods["Predict"], request, context)

    async def Classify(
        self, request: classification_pb2.ClassificationRequest, context: Context
    ) -> Message:
        """Run a classification signature on Examples."""
        return await self._answer(self._methods["Classify"], request, context)

    async def Regress(self, request: regression_pb2.RegressionRequest, context: Context) -> Message:
        """Run a regression signature on Examples."""
        return await self._answer(self._methods["Regress"], request, context)

    async def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: Context
    ) -> Message:
        """Run several signatures on the same Examples."""
        return await self._answer(self._methods["MultiInference"], request, context)

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: Context
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signatures of a model."""
        return await self._loop.in_thread(api.metadata, self._models, request)

    async def _answer(self, method: api.Method, request: Any, context: Context) -> Message:
        """Read a request, run it and answer it.

        Only the model runs in a thread. The rest is Python, which holds the GIL anyway: done in
        threads, 64 clients got a third less.
        """
        spec = method.spec(request)
        name = spec.name if spec is not None else ""
        with (
            metrics.counted(self._models.metric_name(name), method.name, "GRPC"),
            self._models.lease(*api.target(spec)) as version,
        ):
            # Spelled out, since two calls of `EventLoop.call` would cost 4 us a request.
            if method.is_long(request):
                call = await self._loop.in_thread(method.read, version, request)
            else:
                call = method.read(version, request)
            outputs = await run(self._loop, version, call, lambda: _milliseconds_left(context))
            if call.is_long(outputs):
                return await self._loop.in_thread(call.answer, outputs)
            return call.answer(outputs)


class ModelService:
    """`tensorflow.serving.ModelService` over `Models`."""

    def __init__(self, models: Models, loop: EventLoop) -> None:
        self._models = models
        self._loop = loop

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: Context
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the state of every version of a model, or of one."""
        return await self._loop.in_thread(api.status, self._models, request)

    async def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: Context
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replace the list of models; answer once those new in it are AVAILABLE."""
        gone = False
        reload = partial(api.reload, self._models, request, lambda: gone)
        answered = asyncio.ensure_future(self._loop.in_thread(reload))
        try:
            return await asyncio.shield(answered)
        except asyncio.CancelledError:
            gone = True
            self._models.wake()
            await asyncio.wait([answered])
            raise


def _milliseconds_left(context: Context) -> int:
    """Return the client's deadline as a session-run time-out; 0 means none."""
    seconds = context.time_remaining()
    # Without a deadline some versions of grpc return None, others the end of time.
    return 0 if seconds is None or seconds > 1e6 else max(1, int(seconds * 1000))
