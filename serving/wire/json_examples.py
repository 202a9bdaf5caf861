"""JSON of the REST methods classify and regress: `tf.Example`s in, results out.

Formats, checks and texts follow TensorFlow Serving's `util/json_tensor.cc`, which says "classify"
for both methods.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from ..errors import InvalidArgument
from .json_bytes import decode_base64, encode, is_base64
from .json_errors import format_error, type_name
from .json_outputs import float_texts
from .json_parser import Doubled, Json
from .json_texts import text_bytes

_MAX_INT64 = 2**63 - 1
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


def dump_classifications(result: classification_pb2.ClassificationResult) -> bytes:
    """Return the response body of classify: `[[label, score], ...]` for each Example."""
    rows = []
    for classifications in result.classifications:
        scores = _texts([found.score for found in classifications.classes])
        pairs = zip(classifications.classes, scores, strict=True)
        rows.append(
            b"[%s]" % b", ".join(b"[%s, %s]" % (_text(c.label), score) for c, score in pairs)
        )
    return b'{\n    "results": [%s\n    ]\n}' % b", ".join(rows)


def dump_regressions(result: regression_pb2.RegressionResult) -> bytes:
    """Return the response body of regress: one number for each Example."""
    values = _texts([regression.value for regression in result.regressions])
    return b'{\n    "results": [%s]\n}' % b", ".join(values)


def _example(value: Json) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise InvalidArgument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    # Of features of one name the last counts, as everywhere in protobuf's maps.
    members = dict(value.members) if isinstance(value, Doubled) else value
    for name, content in members.items():
        try:
            feature = example.features.feature[name]
        except UnicodeEncodeError:
            raise InvalidArgument(
                f"Feature: {name} has a name that is not UTF-8. Name it in UTF-8."
            ) from None
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
    else:
        kind = "float_list" if isinstance(value, float) else "int64_list"
    known = feature.WhichOneof("kind")
    if known not in (None, kind):
        raise InvalidArgument(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[known]}"
        )
    if isinstance(value, str | dict):
        element = decode_base64(value) if isinstance(value, dict) else encode(value)
        feature.bytes_list.value.append(element)
    elif isinstance(value, float):
        feature.float_list.value.append(value)
    elif value > _MAX_INT64:
        raise InvalidArgument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    else:
        feature.int64_list.value.append(int(value))


def _texts(values: list[float]) -> list[bytes]:
    return float_texts(np.array(values, np.float32))


def _text(value: str) -> bytes:
    return text_bytes(value.encode(errors="surrogateescape"))
