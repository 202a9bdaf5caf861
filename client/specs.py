"""The results of the client and what it knows of a model: frozen values, which notebooks show as
tables.

Importing this costs neither numpy nor gRPC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

#: TF's dtype names (tensorflow/core/framework/types.proto) to numpy's, for the types that both
#: wire formats carry. `string` is bytes of any content, held in numpy arrays of dtype object.
DTYPES: Mapping[str, str] = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_STRING": "string",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature."""

    name: str
    dtype: str
    """numpy's name, `string`, or TF's own (`DT_BFLOAT16`) where the client has no such type."""
    shape: tuple[int | None, ...] | None
    """None for a dimension of any size; None as a whole for any number of dimensions."""

    def __str__(self) -> str:
        return f"{self.dtype} {format_shape(self.shape)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a model."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a loaded version of a model takes and gives."""

    model: str
    version: int
    signatures: Mapping[str, Signature]

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        from .html import metadata_html

        return metadata_html(self)


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version of a model on the server."""

    version: int
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    error_code: str
    """`OK`, or the name of the gRPC status with which the version failed to load."""
    error_message: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """All versions of a model that the server knows, highest first."""

    model: str
    versions: tuple[VersionStatus, ...]

    @property
    def available(self) -> bool:
        """Whether some version answers predictions."""
        return any(version.state == "AVAILABLE" for version in self.versions)

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        from .html import status_html

        return status_html(self)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The answer to one request. Not comparable: its arrays are not."""

    model: str
    version: int | None
    """The version that answered; over REST only known when it was asked for."""
    signature: str
    outputs: Mapping[str, Array]
    """By output name; strings are bytes in arrays of dtype object."""

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        from .html import prediction_html

        return prediction_html(self)


@dataclass(frozen=True, slots=True)
class Score:
    """One class and how probable the model finds it."""

    class_: int
    probability: float
    """0..1, as the output `probabilities`; of another output that was ranked its own number."""
    label: str | None = None
    """Its name, where the labels have one."""


@dataclass(frozen=True, slots=True)
class ExamplePrediction:
    """The answer for one example: a picture, a text, or a row of a tensor file."""

    source: str
    """The path of the file, with the row (`x.npy[3]`) or line (`x.txt:3`) where it has several; of
    a text that was given as such, the text."""
    prediction: Any
    """The output that was asked for, else `predictions`, or the only output, as plain Python; of
    several outputs of other names an object by name."""
    inverted: bool
    """Whether the picture was inverted, being dark on light or by order."""
    model: str
    version: int | None
    """As in `Prediction`."""
    signature: str
    scores: tuple[Score, ...] = field(default=())
    """The most probable classes, best first; empty when none were asked for."""
    label: str | None = None
    """The name of the class `prediction`, where the labels have one."""

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        from .html import example_html

        return example_html(self)


class ExamplePredictions(tuple[ExamplePrediction, ...]):
    """Answers for several examples, which notebooks show as one table.

    `ExamplePredictions(client.predict_files(["digits"], top=3))`
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        from .html import examples_html

        return examples_html(self)


def format_shape(shape: tuple[int | None, ...] | None) -> str:
    """Return `[?, 784]` for (None, 784), and `[...]` for a shape of unknown rank."""
    if shape is None:
        return "[...]"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
