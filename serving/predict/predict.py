"""What a request does, without a transport: check it against the signature, run, answer.

Order of the checks and all texts follow TensorFlow Serving's
`servables/tensorflow/predict_util.cc` and TensorFlow's `cc/saved_model/util.cc`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from .. import metrics
from ..errors import Code, FailedPrecondition, InvalidArgument, ServingError
from ..models.signature import DEFAULT_SIGNATURE, Signature
from ..models.version import Version
from ..wire import tensor_proto

if TYPE_CHECKING:
    from ..ports.threads import RequestThreads

_PREDICT_METHODS = tuple(
    f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress")
)


def predict(
    version: Version,
    request: predict_pb2.PredictRequest,
    timeout_ms: int,
) -> predict_pb2.PredictResponse:
    """Run one signature on the tensors given, for at most `timeout_ms` (0: no limit).

    Raises:
        ServingError: the request does not fit the signature, or the graph fails.
    """
    signature, inputs, fetch = read_predict(version, request)
    outputs = run(version, "Predict", signature, inputs, fetch, timeout_ms)
    return predict_response(version, signature, outputs)


def read_predict(
    version: Version, request: predict_pb2.PredictRequest
) -> tuple[Signature, dict[str, np.ndarray], list[str]]:
    """Return what a request asks for: signature, its inputs, and the outputs to compute.

    Raises:
        ServingError: the request does not fit the signature.
    """
    key = request.model_spec.signature_name
    signature = version.signature(key)
    if signature is None:
        raise FailedPrecondition(f'Serving signature key "{key or DEFAULT_SIGNATURE}" not found.')
    check_predict_method(version, signature)
    inputs = decode_inputs(signature, request.inputs)
    return signature, inputs, choose_outputs(signature, request.output_filter)


def predict_response(
    version: Version,
    signature: Signature,
    outputs: Mapping[str, np.ndarray],
    *,
    as_content: bool = False,
) -> predict_pb2.PredictResponse:
    """Return the answer to a request with these outputs."""
    response = predict_pb2.PredictResponse()
    spec = response.model_spec
    spec.name = version.model_name
    spec.signature_name = signature.key
    spec.version.value = version.number
    for alias, array in outputs.items():
        tensor_proto.write(response.outputs[alias], array, as_content=as_content)
    return response


def run(
    version: Version,
    api: str,
    signature: Signature,
    inputs: Mapping[str, np.ndarray],
    fetch: Sequence[str],
    timeout_ms: int,
) -> dict[str, np.ndarray]:
    """Run a signature, and count how long that took for the API of this name."""
    started = time.perf_counter()
    outputs = version.run(signature, inputs, fetch, timeout_ms)
    metrics.count_run(version.model_name, api, time.perf_counter() - started)
    return outputs


async def predict_on(
    threads: RequestThreads,
    version: Version,
    signature: Signature,
    inputs: Mapping[str, np.ndarray],
    fetch: Sequence[str],
    milliseconds_left: Callable[[], int],
) -> dict[str, np.ndarray]:
    """Do as `run` for Predict, on an event loop: in one of its threads, or in a batch."""
    started = time.perf_counter()
    if signature.queue is not None:
        outputs = await signature.queue.run_on(threads.loop, inputs, fetch, milliseconds_left())
    else:
        outputs = await threads.run(
            lambda: version.run(signature, inputs, fetch, milliseconds_left())
        )
    metrics.count_run(version.model_name, "Predict", time.perf_counter() - started)
    return outputs


def check_predict_method(version: Version, signature: Signature) -> None:
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
    signature: Signature, given: Mapping[str, tensor_pb2.TensorProto]
) -> dict[str, np.ndarray]:
    """Check names and turn messages into arrays; inputs left out take the signature's defaults.

    Types and shapes are not looked at: the graph does that.

    Raises:
        InvalidArgument: a name is missing or unknown, or a tensor can't be read.
    """
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
            arrays[alias] = tensor_proto.from_proto(proto)
        except ValueError:
            raise InvalidArgument(f"tensor parsing error: {alias}") from None
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
