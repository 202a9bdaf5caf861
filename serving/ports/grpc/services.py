"""The gRPC edge: PredictionService and ModelService, health and reflection on one port.

All calls meet on one event loop. Predict is read and answered there, and only the model runs in a
thread; the other methods are answered in one as a whole.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

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
from ...models.registry import Models
from ...predict import examples, predict
from ...predict.status import model_metadata, model_status
from ..threads import RequestThreads
from .methods import Context

PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]


class PredictionService:
    """`tensorflow.serving.PredictionService` over `Models`."""

    def __init__(self, models: Models, threads: RequestThreads, *, as_content: bool) -> None:
        self._models = models
        self._threads = threads
        self._as_content = as_content

    async def Predict(
        self, request: predict_pb2.PredictRequest, context: Context
    ) -> predict_pb2.PredictResponse:
        """Run one signature on the inputs given."""
        # Not all of it in a thread: it is Python, which holds the GIL anyway, and 64 clients got a
        # third less done so. A batched request needs no thread at all.
        with (
            self._counted("Predict", request.model_spec),
            self._models.lease(*_spec(request)) as version,
        ):
            signature, inputs, fetch = predict.read_predict(version, request)
            outputs = await predict.predict_on(
                self._threads,
                version,
                signature,
                inputs,
                fetch,
                lambda: _milliseconds_left(context),
            )
            return predict.predict_response(
                version, signature, outputs, as_content=self._as_content
            )

    async def Classify(
        self, request: classification_pb2.ClassificationRequest, context: Context
    ) -> classification_pb2.ClassificationResponse:
        """Run a classification signature on Examples."""

        def answer() -> classification_pb2.ClassificationResponse:
            with (
                self._counted("Classify", request.model_spec),
                self._models.lease(*_spec(request)) as version,
            ):
                return examples.classify(version, request, _milliseconds_left(context))

        return await self._threads.run(answer)

    async def Regress(
        self, request: regression_pb2.RegressionRequest, context: Context
    ) -> regression_pb2.RegressionResponse:
        """Run a regression signature on Examples."""

        def answer() -> regression_pb2.RegressionResponse:
            with (
                self._counted("Regress", request.model_spec),
                self._models.lease(*_spec(request)) as version,
            ):
                return examples.regress(version, request, _milliseconds_left(context))

        return await self._threads.run(answer)

    async def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: Context
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several signatures on the same Examples."""
        # Without tasks: the error of a ModelSpec without a name, as from TensorFlow Serving.
        first = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()

        def answer() -> inference_pb2.MultiInferenceResponse:
            with (
                self._counted("MultiInference", first.model_spec),
                self._models.lease(*_named(first.model_spec)) as version,
            ):
                return examples.multi_inference(version, request, _milliseconds_left(context))

        return await self._threads.run(answer)

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: Context
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signatures of a model."""

        def answer() -> get_model_metadata_pb2.GetModelMetadataResponse:
            if not request.HasField("model_spec"):
                raise InvalidArgument("Missing ModelSpec")
            if not request.metadata_field:
                raise InvalidArgument(
                    "GetModelMetadataRequest must specify at least one metadata_field"
                )
            for field in request.metadata_field:
                if field != "signature_def":
                    raise InvalidArgument(f"Metadata field {field} is not supported")
            with self._models.lease(*_spec(request)) as version:
                return model_metadata(version)

        return await self._threads.run(answer)

    def _counted(self, api: str, spec: model_pb2.ModelSpec) -> AbstractContextManager[None]:
        return metrics.counted(self._models.metric_name(spec.name), api, "GRPC")


class ModelService:
    """`tensorflow.serving.ModelService` over `Models`."""

    def __init__(self, models: Models, threads: RequestThreads) -> None:
        self._models = models
        self._threads = threads

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: Context
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the state of every version of a model, or of one."""

        def answer() -> get_model_status_pb2.GetModelStatusResponse:
            name, number, _ = _spec(request)
            return model_status(self._models.statuses(name, number))

        return await self._threads.run(answer)

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

        answered = asyncio.ensure_future(self._threads.run(answer))
        try:
            return await asyncio.shield(answered)
        except asyncio.CancelledError:
            gone = True
            self._models.wake()
            await asyncio.wait([answered])
            raise


def _spec(request: Message) -> tuple[str, int | None, str]:
    """Return name, version and label of the model that a request is for."""
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
    return _named(request.model_spec)


def _named(spec: model_pb2.ModelSpec) -> tuple[str, int | None, str]:
    number = spec.version.value if spec.HasField("version") else None
    return spec.name, number, spec.version_label


def _milliseconds_left(context: Context) -> int:
    """Return the client's deadline as a session-run time-out; 0 means none."""
    seconds = context.time_remaining()
    # Without a deadline some versions of grpc return None, others the end of time.
    return 0 if seconds is None or seconds > 1e6 else max(1, int(seconds * 1000))
