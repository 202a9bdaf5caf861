"""JSON requests for tests: a signature without a model, and a body read for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import ServingError
from serving.models.signature import Signature
from serving.wire import json_document, json_inputs


def signature(**types: str) -> Signature:
    """Return a signature with inputs of these types: alias to `float`, `int32`, `string`…"""
    definition = meta_graph_pb2.SignatureDef()
    for alias, name in types.items():
        definition.inputs[alias].dtype = types_pb2.DataType.Value(f"DT_{name.upper()}")
    return Signature("s", definition)


def read(body: bytes, types: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the arrays that a body stands for."""
    document = json_document.parse(body)
    json_document.signature_name(document)
    return json_inputs.read_inputs(document, signature(**types))[0]


def outcome(body: bytes, types: Mapping[str, str]) -> Any:
    """Return the arrays in a form that can be compared, or the error."""
    try:
        arrays = read(body, types)
    except ServingError as error:
        return str(error)
    return {
        alias: (
            array.dtype.str,
            array.shape,
            array.tolist() if array.dtype == object else array.tobytes(),
        )
        for alias, array in arrays.items()
    }
