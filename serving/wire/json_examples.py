"""JSON of the REST methods classify and regress: `tf.Example`s in, results out.

Formats, checks and texts follow TensorFlow Serving's `util/json_tensor.cc`, which says "classify"
for both methods.
"""

from __future__ import annotations

import json

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from ..errors import InvalidArgument
from .json_errors import Json, format_error, shown, type_name
from .json_inputs import decode_base64, is_base64
from .json_outputs import float_texts

_MAX_INT64 = 2**63 - 1
_MAX_UINT64 = 2**64 - 1
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_input(document: dict[str, Json]) -> input_pb2.Input:
    """Return the Examples of a request, with the context they share.

    Raises:
        InvalidArgument: they are not of the form this takes.
    """
    given = input_pb2.Input()
    target = given.example_list
    if "context" in document:
        target = given.example_list_with_context
        target.context.CopyFrom(_example(document["context"]))
    if "examples" not in document:
        raise format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise format_error(document, "'examples' value is an empty array")
    target.examples.extend(map(_example, examples))
    return given


def dump_classifications(result: classification_pb2.ClassificationResult) -> str:
    """Return the response body of classify: `[[label, score], ...]` for each Example."""
    rows = []
    for classifications in result.classifications:
        scores = [found.score for found in classifications.classes]
        pairs = zip(classifications.classes, _texts(scores), strict=True)
        rows.append("[" + ", ".join(f"[{_text(c.label)}, {score}]" for c, score in pairs) + "]")
    return '{\n    "results": [' + ", ".join(rows) + "\n    ]\n}"


def dump_regressions(result: regression_pb2.RegressionResult) -> str:
    """Return the response body of regress: one number for each Example."""
    values = _texts([regression.value for regression in result.regressions])
    return '{\n    "results": [' + ", ".join(values) + "]\n}"


def _example(value: Json) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise InvalidArgument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add(element, name, feature)
    return example


def _add(value: Json, name: str, feature: feature_pb2.Feature) -> None:
    """Append an element; its JSON type decides the kind of the feature."""
    if (
        value is None
        or isinstance(value, list)
        or (isinstance(value, dict) and not is_base64(value))
    ):
        raise InvalidArgument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )
    if isinstance(value, str | dict):
        kind = "bytes_list"
    # Beyond uint64 rapidjson reads a number as a double.
    elif isinstance(value, float) or not -_MAX_INT64 - 1 <= value <= _MAX_UINT64:
        kind = "float_list"
    else:
        kind = "int64_list"
    known = feature.WhichOneof("kind")
    if known not in (None, kind):
        raise InvalidArgument(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[known]}"
        )
    if isinstance(value, str | dict):
        element = decode_base64(value) if isinstance(value, dict) else _encoded(value, name)
        feature.bytes_list.value.append(element)
    elif kind == "float_list":
        feature.float_list.value.append(_float32(value))
    elif value > _MAX_INT64:
        raise InvalidArgument(f"Feature: {name} has uint64 element. Only int64 is supported.")
    else:
        feature.int64_list.value.append(int(value))


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # A lone surrogate, as \ud800 gives.
        raise InvalidArgument(f"Feature: {name} has a string that is no Unicode text.") from None


def _float32(value: float) -> float:
    # Infinity and NaN have a float32 each; a finite number may be too large for any.
    if np.isfinite(float(value)) and abs(value) > np.finfo(np.float32).max:
        raise InvalidArgument(
            f"Cannot convert JSON value: {shown(value)} to float without loss of precision."
        )
    return float(value)


def _texts(values: list[float]) -> list[str]:
    return float_texts(np.array(values, np.float32))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
