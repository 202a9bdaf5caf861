"""What calls to PredictionService and ModelService mean, whatever carries them.

Nothing here waits for a model to run: the transports do. Only `reload` blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from ...budget import LARGE_BYTES, Hold
from ...errors import Code, InvalidArgument, ServingError, as_serving_error
from ...models.registry import Models
from ...models.version import Version
from ...predict import examples, memory, predict
from ...predict.call import Call
from ...predict.status import model_metadata, model_status

PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]

HEALTH_SERVICES = (
    "",
    PREDICTION_SERVICE.name,
    MODEL_SERVICE.name,
    PREDICTION_SERVICE.full_name,
    MODEL_SERVICE.full_name,
)
"""TensorFlow Serving knows the short names only; the full ones are what gRPC's convention asks."""

Target = tuple[str, int | None, str]
"""Name, version and label of a model."""

_SHORT_EXAMPLES = 64 * 2**10
_LONGEST_MESSAGE = 1024
_TRUNCATED = "...TRUNCATED"


@dataclass(frozen=True, slots=True)
class Method:
    """One that runs a model."""

    name: str
    """As the metrics call it."""
    parse: Callable[[bytes], Any]
    """Message to request; raises DecodeError."""
    spec: Callable[[Any], model_pb2.ModelSpec | None]
    """What a request says of its model; None: nothing."""
    read: Callable[[Version, Any, Hold], Call[bytes]]
    """Read a request into a call, whose answer is the message to send; what its inputs take in
    the model is added to what it holds."""
    short_bytes: int
    """Messages up to this size are read on the event loop: about 1 ms for the largest."""
    alike: Callable[[Sequence[bytes]], list[list[int]]] | None = None
    """Messages to those that can be read together, by their positions; None: none can."""
    parse_alike: Callable[[Sequence[bytes]], Any] | None = None
    """Such messages to one request; None: they have to be read one by one."""


def _of_examples(
    read: Callable[[Version, Any], Call[Any]],
) -> Callable[[Version, Any, Hold], Call[bytes]]:
    def read_held(version: Version, request: Any, hold: Hold) -> Call[bytes]:
        call = read(version, request)
        hold.add(memory.input_bytes(call.inputs, shrinks_jpeg=call.signature.shrinks_jpeg))
        return call.having(answers=lambda outputs, _: [call.answer(outputs).SerializeToString()])

    return read_held


def _spec(request: Message) -> model_pb2.ModelSpec | None:
    return request.model_spec if request.HasField("model_spec") else None


def _spec_of_tasks(request: inference_pb2.MultiInferenceRequest) -> model_pb2.ModelSpec | None:
    # Without tasks: the error of a ModelSpec without a name, as from TensorFlow Serving.
    return (request.tasks[0] if request.tasks else inference_pb2.InferenceTask()).model_spec


def prediction_methods(*, as_content: bool) -> dict[str, Method]:
    """Return the methods of PredictionService that run a model, by name.

    Args:
        as_content: answer Predict with `tensor_content` instead of typed fields.
    """
    methods = (
        Method(
            "Predict",
            predict.parse,
            lambda request: _spec(request.message),
            partial(predict.read, as_content=as_content),
            LARGE_BYTES,
            predict.alike,
            predict.parse_alike,
        ),
        Method(
            "Classify",
            classification_pb2.ClassificationRequest.FromString,
            _spec,
            _of_examples(examples.read_classification),
            _SHORT_EXAMPLES,
        ),
        Method(
            "Regress",
            regression_pb2.RegressionRequest.FromString,
            _spec,
            _of_examples(examples.read_regression),
            _SHORT_EXAMPLES,
        ),
        Method(
            "MultiInference",
            inference_pb2.MultiInferenceRequest.FromString,
            _spec_of_tasks,
            _of_examples(examples.read_multi_inference),
            _SHORT_EXAMPLES,
        ),
    )
    return {method.name: method for method in methods}


def metadata(
    models: Models, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Return the signatures of a model."""
    name, number, label = target(_spec(request))
    if not request.metadata_field:
        raise InvalidArgument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != "signature_def":
            raise InvalidArgument(f"Metadata field {field} is not supported")
    with models.lease(name, number, label) as version:
        return model_metadata(version)


def status(
    models: Models, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """Return the state of every version of a model, or of one."""
    name, number, _ = target(_spec(request))
    return model_status(models.statuses(name, number))


def reload(
    models: Models,
    request: model_management_pb2.ReloadConfigRequest,
    given_up: Callable[[], bool],
) -> model_management_pb2.ReloadConfigResponse:
    """Replace the list of models; return once those new in it are AVAILABLE.

    Args:
        models: what is served.
        request: the new list.
        given_up: whether nobody waits any longer; asked again at `Models.wake`.

    Raises:
        ServingError: the list is refused, or callers may not replace it.
    """
    if not models.callers_replace:
        raise ServingError(
            Code.PERMISSION_DENIED,
            "This server's list of models is fixed: it runs with --enable_reload_requests=false.",
        )
    if request.config.WhichOneof("config") != "model_config_list":
        raise InvalidArgument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    if given_up():
        # A late list must not take the place of one that was asked for after it.
        return model_management_pb2.ReloadConfigResponse()
    names = models.replace(request.config)
    # A model without a version would hold this thread for ever.
    models.wait_until_available(names, "model(s)", given_up)
    return model_management_pb2.ReloadConfigResponse()


def target(spec: model_pb2.ModelSpec | None) -> Target:
    """Return name, version and label of a model.

    Raises:
        InvalidArgument: the request does not say which.
    """
    if spec is None:
        raise InvalidArgument("Missing ModelSpec")
    number = spec.version.value if spec.HasField("version") else None
    return spec.name, number, spec.version_label


def failed(error: BaseException) -> tuple[Code, str]:
    """Return code and text of the status that a call ends with."""
    if isinstance(error, DecodeError):
        # As from TensorFlow Serving.
        error = ServingError(Code.INTERNAL, str(error))
    known = as_serving_error(error)
    message = known.message
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - len(_TRUNCATED)] + _TRUNCATED
    return known.code, message
