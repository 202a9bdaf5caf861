"""Classify, Regress and MultiInference: `tf.Example`s in, labels and numbers out.

The signature gets the serialised Examples as its input `inputs` and parses them in the graph.
Checks and texts follow TensorFlow Serving's `servables/tensorflow/classifier.cc`, `regressor.cc`,
`multi_inference.cc` and `util.cc`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

from .. import metrics
from ..data_types import DATA_TYPES
from ..errors import FailedPrecondition, InvalidArgument, Unimplemented
from ..models.signature import DEFAULT_SIGNATURE, Signature
from ..models.version import Version
from . import predict

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

_INPUT = "inputs"
_CLASSES = "classes"
_SCORES = "scores"
_OUTPUTS = "outputs"

Outputs = Mapping[str, np.ndarray]


def classify(
    version: Version, request: classification_pb2.ClassificationRequest, timeout_ms: int
) -> classification_pb2.ClassificationResponse:
    """Run a classification signature.

    Raises:
        ServingError: the signature is none, or request, model or answer are not as it needs them.
    """
    signature = _signature(version, request.model_spec)
    aliases = _check_classification(version, signature)
    examples = serialized_examples(request.input)
    inputs = {_INPUT: examples}
    outputs = predict.run(version, "Classify", signature, inputs, aliases, timeout_ms)
    response = classification_pb2.ClassificationResponse()
    _set_spec(response.model_spec, version, signature)
    _fill_classifications(response.result, outputs, len(examples))
    return response


def regress(
    version: Version, request: regression_pb2.RegressionRequest, timeout_ms: int
) -> regression_pb2.RegressionResponse:
    """Run a regression signature.

    Raises:
        ServingError: as for `classify`.
    """
    signature = _signature(version, request.model_spec)
    aliases = _check_regression(version, signature)
    examples = serialized_examples(request.input)
    inputs = {_INPUT: examples}
    outputs = predict.run(version, "Regress", signature, inputs, aliases, timeout_ms)
    response = regression_pb2.RegressionResponse()
    _set_spec(response.model_spec, version, signature)
    _fill_regressions(response.result, outputs, len(examples))
    return response


def multi_inference(
    version: Version, request: inference_pb2.MultiInferenceRequest, timeout_ms: int
) -> inference_pb2.MultiInferenceResponse:
    """Run several classification and regression signatures on the same Examples, in one run.

    Raises:
        ServingError: as for `classify`, or the tasks do not fit together.
    """
    # One signature with the outputs of all: the graph runs once, and computes what they share once.
    joint = meta_graph_pb2.SignatureDef()
    tasks: list[tuple[inference_pb2.InferenceTask, Signature, list[str]]] = []
    for task in request.tasks:
        if not task.model_spec.name:
            raise InvalidArgument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise InvalidArgument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        key = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if any(signature.key == key for _, signature, _ in tasks):
            raise InvalidArgument(f"Duplicate evaluation of signature: {key}")
        signature = version.signature(key)
        if signature is None:
            raise InvalidArgument(f"Requested signature not found in model graph: {key}")
        aliases = _TASKS.get(task.method_name, _unsupported(task.method_name))(version, signature)
        if joint.inputs and joint.inputs[_INPUT].name != signature.inputs[_INPUT].name:
            raise InvalidArgument("Input tensor must be the same for all Signatures.")
        joint.inputs[_INPUT].CopyFrom(signature.inputs[_INPUT])
        for alias in aliases:
            joint.outputs[signature.outputs[alias].name].CopyFrom(signature.outputs[alias])
        tasks.append((task, signature, aliases))
    examples = serialized_examples(request.input)
    together = Signature("", joint)
    metrics.EXAMPLE_COUNTS.add(len(examples), version.model_name)
    metrics.EXAMPLE_COUNT_TOTAL.add(version.model_name, amount=len(examples))
    fetch = list(together.outputs)
    inputs = {_INPUT: examples}
    found = predict.run(version, "MultiInference", together, inputs, fetch, timeout_ms)
    response = inference_pb2.MultiInferenceResponse()
    for task, signature, aliases in tasks:
        result = response.results.add()
        _set_spec(result.model_spec, version, signature)
        outputs = {alias: found[signature.outputs[alias].name] for alias in aliases}
        if task.method_name == CLASSIFY_METHOD:
            _fill_classifications(result.classification_result, outputs, len(examples))
        else:
            _fill_regressions(result.regression_result, outputs, len(examples))
    return response


def serialized_examples(given: input_pb2.Input) -> np.ndarray:
    """Return the Examples of a request, serialised: an object array [n] of bytes.

    Raises:
        InvalidArgument: there are none.
    """
    context = b""
    if given.WhichOneof("kind") == "example_list_with_context":
        # A message's bytes after another's: what both have, the later one decides.
        context = given.example_list_with_context.context.SerializeToString()
        examples = given.example_list_with_context.examples
    else:
        examples = given.example_list.examples
    if not examples:
        raise InvalidArgument("Input is empty.")
    array = np.empty(len(examples), dtype=object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _signature(version: Version, spec: model_pb2.ModelSpec) -> Signature:
    signature = version.signature(spec.signature_name)
    if signature is None:
        name = spec.signature_name or DEFAULT_SIGNATURE
        raise InvalidArgument(f"No signature was found with the name: {name}")
    return signature


def _check_classification(version: Version, signature: Signature) -> list[str]:
    """Return the outputs to compute."""
    _check_method(version, signature, "classification", CLASSIFY_METHOD)
    if len(signature.inputs) != 1:
        raise InvalidArgument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise InvalidArgument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUT not in signature.inputs:
        raise _lacks("No classification inputs found in SignatureDef: ", signature)
    aliases = [alias for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not aliases:
        raise _lacks(
            "Expected classification signature outputs to contain at least one of "
            f'"{_CLASSES}" or "{_SCORES}". Signature was: ',
            signature,
        )
    return aliases


def _check_regression(version: Version, signature: Signature) -> list[str]:
    """Return the outputs to compute."""
    _check_method(version, signature, "regression", REGRESS_METHOD)
    if len(signature.inputs) != 1:
        raise InvalidArgument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise InvalidArgument("Expected one output Tensor.")
    if _INPUT not in signature.inputs:
        raise _lacks("No regression inputs found in SignatureDef: ", signature)
    if _OUTPUTS not in signature.outputs:
        raise _lacks("No regression outputs found in SignatureDef: ", signature)
    return [_OUTPUTS]


_TASKS: dict[str, Callable[[Version, Signature], list[str]]] = {
    CLASSIFY_METHOD: _check_classification,
    REGRESS_METHOD: _check_regression,
}


def _unsupported(method: str) -> Callable[[Version, Signature], list[str]]:
    def refuse(version: Version, signature: Signature) -> list[str]:
        raise Unimplemented(f"Unsupported signature method_name: {method}")

    return refuse


def _check_method(version: Version, signature: Signature, kind: str, method: str) -> None:
    found = signature.definition.method_name
    if version.check_method_names and found != method:
        raise InvalidArgument(f"Expected {kind} signature method_name to be {method}. Was: {found}")


def _lacks(text: str, signature: Signature) -> FailedPrecondition:
    return FailedPrecondition(text + text_format.MessageToString(signature.definition))


def _set_spec(spec: model_pb2.ModelSpec, version: Version, signature: Signature) -> None:
    spec.name = version.model_name
    spec.signature_name = signature.key
    spec.version.value = version.number


def _fill_classifications(
    result: classification_pb2.ClassificationResult, outputs: Outputs, count: int
) -> None:
    classes, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    for name, array, data_type in (
        (_CLASSES, classes, types_pb2.DT_STRING),
        (_SCORES, scores, types_pb2.DT_FLOAT),
    ):
        if array is None:
            continue
        if array.ndim != 2:
            raise InvalidArgument(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        if DATA_TYPES[array.dtype] != data_type:
            raise InvalidArgument(
                f"Expected {name} Tensor of {types_pb2.DataType.Name(data_type)}. "
                f"Got: {_type_name(array)}"
            )
        if len(array) != count:
            raise InvalidArgument(
                f"Expected {name} output batch size of {count}. Got: {len(array)}"
            )
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise InvalidArgument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    labels = None if classes is None else classes.tolist()
    numbers = None if scores is None else scores.tolist()
    for row in range(count):
        found = result.classifications.add().classes
        if numbers is None and labels is not None:
            found.extend(classification_pb2.Class(label=_label(label)) for label in labels[row])
        elif labels is None and numbers is not None:
            found.extend(classification_pb2.Class(score=score) for score in numbers[row])
        elif labels is not None and numbers is not None:
            found.extend(
                classification_pb2.Class(label=_label(label), score=score)
                for label, score in zip(labels[row], numbers[row], strict=True)
            )


def _label(label: bytes) -> str:
    """Return a label as the message's string field takes it."""
    return label.decode(errors="replace")


def _fill_regressions(
    result: regression_pb2.RegressionResult, outputs: Outputs, count: int
) -> None:
    array = outputs[_OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise InvalidArgument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape(array)}"
        )
    if len(array) != count:
        raise InvalidArgument(
            f"Input batch size did not match output batch size: {count} vs. {len(array)}"
        )
    if array.dtype != np.float32:
        raise InvalidArgument(f"Expected output Tensor of DT_FLOAT.  Got: {_type_name(array)}")
    result.regressions.extend(
        regression_pb2.Regression(value=value) for value in array.ravel().tolist()
    )


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _type_name(array: np.ndarray) -> str:
    name: str = types_pb2.DataType.Name(DATA_TYPES[array.dtype])
    return name
