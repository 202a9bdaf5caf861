"""Predict: tensors in, tensors out.

Order of the checks and all texts follow TensorFlow Serving's
`servables/tensorflow/predict_util.cc` and TensorFlow's `cc/saved_model/util.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow_serving.apis import predict_pb2

from ..budget import Hold
from ..errors import Code, FailedPrecondition, InvalidArgument, ServingError
from ..models.signature import DEFAULT_SIGNATURE, Signature
from ..models.version import Version
from ..wire import large_tensors, quick_response, tensor_proto
from ..wire.tensor_proto import Values
from . import memory
from .call import Call, Outputs, each, output_bytes
from .templates import Template, Templates

API = "Predict"

_SMALL_BYTES = 16 * 2**10
"""Up to this size protobuf is faster, and holds nobody up."""

_PREDICT_METHODS = tuple(
    f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress")
)


@dataclass(slots=True)
class Request:
    """A request that came as a message."""

    message: predict_pb2.PredictRequest
    data: Sequence[bytes] = ()
    """The message, serialised, where it came so. With `template`: all messages of this form that
    came together."""
    values: Mapping[str, Values] = field(default_factory=dict)
    """Input to the values that are not in the message, since they are large."""
    template: Template | None = None
    """Its form, if that is known: then `message` has no inputs."""


_templates = Templates()


def parse(data: bytes) -> Request:
    """Return the request that a serialised message is.

    Raises:
        DecodeError: it is none.
    """
    template = _templates.find(data)
    if template is not None:
        return Request(template.message, (data,), template=template)
    return _parsed(data)


def alike(messages: Sequence[bytes]) -> list[list[int]]:
    """Return which messages `parse_alike` can read together, by their positions.

    They are of one form that is known, and for a signature whose requests run together.
    """
    found: list[list[int]] = []
    by_form: dict[Template, list[int]] = {}
    template: Template | None = None
    for position, data in enumerate(messages):
        if template is None or not template.fits(data):
            template = _templates.find(data)
            if template is not None and not template.runs_together():
                template = None
        if template is None:
            found.append([position])
        else:
            by_form.setdefault(template, []).append(position)
    return found + list(by_form.values())


def parse_alike(messages: Sequence[bytes]) -> Request | None:
    """Return requests that are alike as one; None: the form is forgotten."""
    template = _templates.find(messages[0])
    if template is None:
        return None
    return Request(template.message, messages, template=template)


def _parsed(data: bytes) -> Request:
    if len(data) > _SMALL_BYTES:
        try:
            message, values = large_tensors.read_request(data)
            return Request(message, (data,), values)
        except (ValueError, DecodeError):
            pass  # Odd, or broken: protobuf knows.
    return Request(predict_pb2.PredictRequest.FromString(data), (data,))


def read(
    version: Version, request: Request, hold: Hold | None = None, *, as_content: bool = False
) -> Call[bytes]:
    """Read a request, or several of one form; an answer is a serialised `PredictResponse`.

    Args:
        version: answers it.
        request: has its inputs as `TensorProto`s.
        hold: gets what the inputs take in the model.
        as_content: answer with `tensor_content` instead of typed fields.

    Raises:
        ServingError: the request does not fit the signature, or the memory; or several can't be
            read together any more.
    """
    message = request.message
    key = message.model_spec.signature_name
    signature = version.signature(key)
    if signature is None:
        raise FailedPrecondition(f'Serving signature key "{key or DEFAULT_SIGNATURE}" not found.')
    template = request.template
    if template is not None and template.signature() is signature:
        array = template.array(request.data)
        if hold is not None:
            hold.add(array.nbytes)
        inputs, fetch = {template.alias: array}, template.fetch
    else:
        if template is not None:
            if len(request.data) > 1:
                raise ServingError(Code.ABORTED, "The signature of these requests has gone.")
            request = _parsed(request.data[0])
            message = request.message
        check_method(version, signature)
        inputs = decode_inputs(signature, request, hold)
        fetch = choose_outputs(signature, message.output_filter)
        signature.check(fetch)
        if request.data:
            _templates.learn(request.data[0], message, signature, inputs, fetch)
    return Call(
        api=API,
        signature=signature,
        inputs=inputs,
        fetch=fetch,
        answers=partial(_responses, version, signature, as_content=as_content),
        form=("gRPC", as_content),
        count=max(1, len(request.data)),
    )


def _responses(
    version: Version, signature: Signature, outputs: Outputs, count: int, *, as_content: bool
) -> list[bytes]:
    head = signature.response_head
    if head is None:
        response = predict_pb2.PredictResponse()
        spec = response.model_spec
        spec.name = version.model_name
        spec.signature_name = signature.key
        spec.version.value = version.number
        head = signature.response_head = response.SerializeToString()
    if not as_content and output_bytes(outputs) <= count * _SMALL_BYTES:
        quick = quick_response.write(head, outputs, count)
        if quick is not None:
            return quick
    return [_response(head, part, as_content=as_content) for part in each(outputs, count)]


def _response(head: bytes, outputs: Outputs, *, as_content: bool) -> bytes:
    response = predict_pb2.PredictResponse.FromString(head)
    if output_bytes(outputs) > _SMALL_BYTES:
        return large_tensors.write_response(response, outputs, as_content=as_content)
    for alias, array in outputs.items():
        tensor_proto.write(response.outputs[alias], array, as_content=as_content)
    serialised: bytes = response.SerializeToString()
    return serialised


def check_method(version: Version, signature: Signature) -> None:
    """Check the signature's method name, if the server was told to.

    Raises:
        ServingError: it is none that Predict runs.
    """
    found = signature.definition.method_name
    if version.check_method_names and found not in _PREDICT_METHODS:
        raise ServingError(
            Code.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(_PREDICT_METHODS)}}}. Was: {found}",
        )


def decode_inputs(
    signature: Signature, request: Request, hold: Hold | None = None
) -> dict[str, np.ndarray]:
    """Check names and turn messages into arrays; inputs left out take the signature's defaults.

    Types and shapes are not looked at: the graph does that.

    Raises:
        ServingError: a name is missing or unknown, a tensor can't be read, or there is no memory.
    """
    given = request.message.inputs
    claim = (lambda _: None) if hold is None else hold.add
    expected = signature.inputs
    defaults = signature.definition.defaults
    if len(given) != len(expected):
        missing = expected.keys() - given.keys() - defaults.keys()
        if len(given) > len(expected) or missing:
            raise InvalidArgument(
                f"input size does not match signature: {len(given)}!={len(expected)} "
                f"len({_braced(given)}) != len({_braced(expected)}). "
                f"Sent extra: {_braced(given.keys() - expected.keys())}. "
                f"Missing but required: {_braced(missing)}."
            )
    arrays: dict[str, np.ndarray] = {}
    for alias, info in expected.items():
        proto = given[alias] if alias in given else defaults.get(alias)
        if proto is None:
            raise InvalidArgument(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and "
                "no default value provided. Inputs expected to be in the request "
                f"{_braced(expected)}, or default input alias set: {_braced(defaults)}."
            )
        try:
            arrays[alias] = tensor_proto.from_proto(proto, request.values.get(alias, {}), claim)
        except ValueError:
            raise InvalidArgument(f"tensor parsing error: {alias}") from None
    claim(memory.text_bytes(arrays, shrinks_jpeg=signature.shrinks_jpeg))
    return arrays


def choose_outputs(signature: Signature, output_filter: Sequence[str]) -> list[str]:
    """Return the aliases to compute: those in the filter, or all.

    Raises:
        InvalidArgument: an alias is unknown or twice in the filter.
    """
    for position, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            raise InvalidArgument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_braced(signature.outputs)}."
            )
        if alias in output_filter[:position]:
            raise InvalidArgument(f"duplicate output tensor alias: {alias}")
    return list(output_filter) or list(signature.outputs)


def _braced(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
