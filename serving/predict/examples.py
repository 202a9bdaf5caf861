"""Classify, Regress and MultiInference: `tf.Example`s in, labels and numbers out.

The signature gets the serialised Examples as its input `inputs` and parses them in the graph.
Checks and texts follow TensorFlow Serving's `servables/tensorflow/classifier.cc`, `regressor.cc`,
`multi_inference.cc` and `util.cc`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

from .. import metrics
from ..errors import FailedPrecondition, InvalidArgument, Unimplemented
from ..models.signature import DEFAULT_SIGNATURE, Signature
from ..models.version import Version
from .call import Answer, Call, Outputs
from .results import CLASSES, OUTPUTS, SCORES, fill_classifications, fill_regressions

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

_INPUT = "inputs"


def read_classification(
    version: Version, request: classification_pb2.ClassificationRequest
) -> Call[classification_pb2.ClassificationResponse]:
    """Read a request for a classification signature.

    Raises:
        ServingError: request and signature do not fit, or the signature is not of this kind.
    """
    signature = _signature(version, request.model_spec)
    aliases = _check_classification(version, signature)
    examples = serialized_examples(request.input)

    def answer(outputs: Outputs) -> classification_pb2.ClassificationResponse:
        response = classification_pb2.ClassificationResponse()
        _set_spec(response.model_spec, version, signature)
        fill_classifications(response.result, outputs, len(examples))
        return response

    return _call("Classify", signature, examples, aliases, answer)


def read_regression(
    version: Version, request: regression_pb2.RegressionRequest
) -> Call[regression_pb2.RegressionResponse]:
    """Read a request for a regression signature.

    Raises:
        ServingError: as for `read_classification`.
    """
    signature = _signature(version, request.model_spec)
    aliases = _check_regression(version, signature)
    examples = serialized_examples(request.input)

    def answer(outputs: Outputs) -> regression_pb2.RegressionResponse:
        response = regression_pb2.RegressionResponse()
        _set_spec(response.model_spec, version, signature)
        fill_regressions(response.result, outputs, len(examples))
        return response

    return _call("Regress", signature, examples, aliases, answer)


def read_multi_inference(
    version: Version, request: inference_pb2.MultiInferenceRequest
) -> Call[inference_pb2.MultiInferenceResponse]:
    """Read a request for several such signatures on the same Examples, which run as one.

    Raises:
        ServingError: as for `read_classification`, or the tasks do not fit together.
    """
    # One signature with inputs and outputs of all, by the names of their tensors: the graph runs
    # once, and computes what they share once.
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
        # A model that TensorFlow 2 saved has an input of its own for each signature.
        joint.inputs[signature.inputs[_INPUT].name].CopyFrom(signature.inputs[_INPUT])
        for alias in aliases:
            joint.outputs[signature.outputs[alias].name].CopyFrom(signature.outputs[alias])
        tasks.append((task, signature, aliases))
    examples = serialized_examples(request.input)
    together = Signature(
        "", joint, no_animations=any(signature.no_animations for _, signature, _ in tasks)
    )
    metrics.EXAMPLE_COUNTS.add(len(examples), version.model_name)
    metrics.EXAMPLE_COUNT_TOTAL.add(version.model_name, amount=len(examples))

    def answer(found: Outputs) -> inference_pb2.MultiInferenceResponse:
        response = inference_pb2.MultiInferenceResponse()
        for task, signature, aliases in tasks:
            result = response.results.add()
            _set_spec(result.model_spec, version, signature)
            outputs = {alias: found[signature.outputs[alias].name] for alias in aliases}
            if task.method_name == CLASSIFY_METHOD:
                fill_classifications(result.classification_result, outputs, len(examples))
            else:
                fill_regressions(result.regression_result, outputs, len(examples))
        return response

    return _call("MultiInference", together, examples, list(together.outputs), answer)


def _call(
    api: str,
    signature: Signature,
    examples: np.ndarray,
    aliases: list[str],
    answer: Callable[[Outputs], Answer],
) -> Call[Answer]:
    signature.check(aliases)
    return Call(
        api=api,
        signature=signature,
        inputs=dict.fromkeys(signature.inputs, examples),
        fetch=aliases,
        answers=lambda outputs, _: [answer(outputs)],
        one_by_one=True,
    )


def serialized_examples(given: input_pb2.Input) -> np.ndarray:
    """Return the Examples of a request, serialised: an object array [n] of bytes.

    Raises:
        InvalidArgument: there are none.
    """
    context = b""
    if given.WhichOneof("kind") == "example_list_with_context":
        # A message's bytes after another's: what both have, the later one decides.
        context = given.example_list_with_context.context.SerializeToString()
    examples = _list_of(given).examples
    if not examples:
        raise InvalidArgument("Input is empty.")
    array = np.empty(len(examples), dtype=object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _list_of(given: input_pb2.Input) -> input_pb2.ExampleList | input_pb2.ExampleListWithContext:
    if given.WhichOneof("kind") == "example_list_with_context":
        return given.example_list_with_context
    return given.example_list


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
    aliases = [alias for alias in (CLASSES, SCORES) if alias in signature.outputs]
    if not aliases:
        raise _lacks(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: ',
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
    if OUTPUTS not in signature.outputs:
        raise _lacks("No regression outputs found in SignatureDef: ", signature)
    return [OUTPUTS]


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
