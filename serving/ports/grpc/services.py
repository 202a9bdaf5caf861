"""The services of the gRPC port: PredictionService and ModelService.

All calls come in on one event loop. Requests for predictions are read and answered there, and only
the model runs in a thread; what is large is read and answered in threads as well.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
)

from ... import metrics
from ...budget import Budget, Hold
from ...event_loop import EventLoop
from ...models.registry import Models
from ...predict.call import NO_DEADLINE, run
from . import api
from .methods import Context


class PredictionService:
    """`tensorflow.serving.PredictionService` over `Models`.

    Args:
        models: what is served.
        loop: what the calls come in on.
        budget: of the memory for all requests.
        as_content: answer Predict with `tensor_content` instead of typed fields.
    """

    IN_BYTES = ("Predict", "Classify", "Regress", "MultiInference")
    """Methods that get and return serialised messages."""

    def __init__(
        self, models: Models, loop: EventLoop, budget: Budget, *, as_content: bool
    ) -> None:
        self._models = models
        self._loop = loop
        self._budget = budget
        self._methods = api.prediction_methods(as_content=as_content)

    async def Predict(self, data: bytes, context: Context) -> bytes:
        """Run one signature on the inputs given."""
        return await self._answer(self._methods["Predict"], data, context)

    async def Classify(self, data: bytes, context: Context) -> bytes:
        """Run a classification signature on Examples."""
        return await self._answer(self._methods["Classify"], data, context)

    async def Regress(self, data: bytes, context: Context) -> bytes:
        """Run a regression signature on Examples."""
        return await self._answer(self._methods["Regress"], data, context)

    async def MultiInference(self, data: bytes, context: Context) -> bytes:
        """Run several signatures on the same Examples."""
        return await self._answer(self._methods["MultiInference"], data, context)

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: Context
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signatures of a model."""
        return api.metadata(self._models, request)

    async def _answer(self, method: api.Method, data: bytes, context: Context) -> bytes:
        """Read a request, run it and answer it.

        Only the model runs in a thread. The rest is Python, which holds the GIL anyway: done in
        threads, 64 clients got a third less. Of large requests and answers it is numpy, which
        gives the GIL away.
        """
        deadline = _deadline(context)
        long = len(data) > method.short_bytes
        in_thread = self._loop.in_thread
        with self._budget.hold() as hold:
            hold.add(len(data))
            # Spelled out, since two calls of `EventLoop.call` would cost 4 us a request.
            request = await in_thread(method.parse, data) if long else method.parse(data)
            spec = method.spec(request)
            name = spec.name if spec is not None else ""
            with (
                metrics.counted(self._models.metric_name(name), method.name, "GRPC"),
                self._models.lease(*api.target(spec)) as version,
            ):
                if long:
                    call = await in_thread(method.read, version, request, hold)
                else:
                    call = method.read(version, request, hold)
                outputs = await run(self._loop, version, call, hold, deadline)
                if call.is_long(outputs):
                    answer = await in_thread(call.answer, outputs)
                else:
                    answer = call.answer(outputs)
                # Until its client has taken it, it takes memory.
                context.add_done_callback(partial(_close, hold.moved()))
                return answer


class ModelService:
    """`tensorflow.serving.ModelService` over `Models`."""

    def __init__(self, models: Models, loop: EventLoop) -> None:
        self._models = models
        self._loop = loop

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: Context
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the state of every version of a model, or of one."""
        return api.status(self._models, request)

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


def _close(hold: Hold, _context: Context) -> None:
    hold.close()


def _deadline(context: Context) -> float:
    """Return the client's deadline, by `time.monotonic`."""
    seconds = context.time_remaining()
    # Without a deadline some versions of grpc return None, others the end of time.
    if seconds is None or seconds > 1e6:
        return NO_DEADLINE
    return time.monotonic() + float(seconds)
