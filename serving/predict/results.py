"""Outputs of a model as classifications and regressions: checked, and written into messages.

Checks and texts follow TensorFlow Serving's `servables/tensorflow/classifier.cc` and
`regressor.cc`.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from ..data_types import DATA_TYPES
from ..errors import InvalidArgument
from .call import Outputs

CLASSES = "classes"
SCORES = "scores"
OUTPUTS = "outputs"


def fill_classifications(
    result: classification_pb2.ClassificationResult, outputs: Outputs, count: int
) -> None:
    """Write labels, scores or both of `count` Examples; each output is [count, classes].

    Raises:
        InvalidArgument: an output has another shape or type.
    """
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for name, array, data_type in (
        (CLASSES, classes, types_pb2.DT_STRING),
        (SCORES, scores, types_pb2.DT_FLOAT),
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


def fill_regressions(result: regression_pb2.RegressionResult, outputs: Outputs, count: int) -> None:
    """Write a number for each of `count` Examples; the output is float32 [count] or [count, 1].

    Raises:
        InvalidArgument: it has another shape or type.
    """
    array = outputs[OUTPUTS]
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
