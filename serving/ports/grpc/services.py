"""The services of the gRPC port: PredictionService and ModelService.

All calls come in on one event loop. Requests for predictions are read and answered there, and only
the model runs in a thread; the other methods run in a thread as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from google.protobuf.message import Message  # type: ignore[import-untyped]
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from ... import metrics
from ...errors import InvalidArgument
from ...event_loop import EventLoop
from ...models.registry import Models
from ...models.version import Version
from ...predict import examples, predict
from ...predict.call import Answer, Call, run
from ...predict.status import model_metadata, model_status
from .methods import Context

Request = TypeVar("Request", bound=Message)

PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]


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
        self._read_predict = partial(predict.read, as_content=as_content)

    async def Predict(
        self, request: predict_pb2.PredictRequest, context: Context
    ) -> predict_pb2.PredictResponse:
        """Run one signature on the inputs given."""
        return await self._answer("Predict", self._read_predict, request, _spec(request), context)

    async def Classify(
        self, request: classification_pb2.ClassificationRequest, context: Context
    ) -> classification_pb2.ClassificationResponse:
        """Run a classification signature on Examples."""
        read = examples.read_classification
        long = examples.are_many(request.input)
        return await self._answer("Classify", read, request, _spec(request), context, long=long)

    async def Regress(
        self, request: regression_pb2.RegressionRequest, context: Context
    ) -> regression_pb2.RegressionResponse:
        """Run a regression signature on Examples."""
        read = examples.read_regression
        long = examples.are_many(request.input)
        return await self._answer("Regress", read, request, _spec(request), context, long=long)

    async def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: Context
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several signatures on the same Examples."""
        read = examples.read_multi_inference
        # Without tasks: the error of a ModelSpec without a name, as from TensorFlow Serving.
        first = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()
        long = examples.are_many(request.input)
        return await self._answer(
            "MultiInference", read, request, first.model_spec, context, long=long
        )

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: Context
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signatures of a model."""

        def answer() -> get_model_metadata_pb2.GetModelMetadataResponse:
            target = _target(_spec(request))
            if not request.metadata_field:
                raise InvalidArgument(
                    "GetModelMetadataRequest must specify at least one metadata_field"
                )
            for field in request.metadata_field:
                if field != "signature_def":
                    raise InvalidArgument(f"Metadata field {field} is not supported")
            with self._models.lease(*target) as version:
                return model_metadata(version)

        return await self._loop.in_thread(answer)

    async def _answer(
        self,
        api: str,
        read: Callable[[Version, Request], Call[Answer]],
        request: Request,
        spec: model_pb2.ModelSpec | None,
        context: Context,
        *,
        long: bool = False,
    ) -> Answer:
        """Read a request, run it and answer it.

        Only the model runs in a thread. The rest is Python, which holds the GIL anyway: done in
        threads, 64 clients got a third less.

        Args:
            api: as the metrics call it.
            read: reads the request.
            request: as it came.
            spec: of its model; None: it has none.
            context: of the call.
            long: whether reading it would hold up the loop.
        """
        name = spec.name if spec is not None else ""
        with (
            metrics.counted(self._models.metric_name(name), api, "GRPC"),
            self._models.lease(*_target(spec)) as version,
        ):
            # Spelled out, since two calls of `EventLoop.call` would cost 4 us a request.
            if long:
                call = await self._loop.in_thread(read, version, request)
            else:
                call = read(version, request)
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

        def answer() -> get_model_status_pb2.GetModelStatusResponse:
            name, number, _ = _target(_spec(request))
            return model_status(self._models.statuses(name, number))

        return await self._loop.in_thread(answer)

    async def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: Context
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replace the list of models; answer once those new in it are AVAILABLE."""
        gone = False

        def answer() -> model_management_pb2.ReloadConfigResponse:
            if request.config.WhichOneof("config") != "model_config_list":
                raise InvalidArgument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
            names = self._models.replace(request.config)
            # A model without a version would hold this thread for ever.
            self._models.wait_until_available(names, "model(s)", lambda: gone)
            return model_management_pb2.ReloadConfigResponse()

        answered = asyncio.ensure_future(self._loop.in_thread(answer))
        try:
            return await asyncio.shield(answered)
        except asyncio.CancelledError:
            gone = True
            self._models.wake()
            await asyncio.wait([answered])
            raise


def _spec(request: Message) -> model_pb2.ModelSpec | None:
    """Return what a request says of the model that it is for; None: nothing."""
    return request.model_spec if request.HasField("model_spec") else None


def _target(spec: model_pb2.ModelSpec | None) -> tuple[str, int | None, str]:
    """Return name, version and label of a model.

    Raises:
        InvalidArgument: the request does not say which.
    """
    if spec is None:
        raise InvalidArgument("Missing ModelSpec")
    number = spec.version.value if spec.HasField("version") else None
    return spec.name, number, spec.version_label


def _milliseconds_left(context: Context) -> int:
    """Return the client's deadline as a session-run time-out; 0 means none."""
    seconds = context.time_remaining()
    # Without a deadline some versions of grpc return None, others the end of time.
    return 0 if seconds is None or seconds > 1e6 else max(1, int(seconds * 1000))
