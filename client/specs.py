"""What a model takes and gives: its signatures, and the dtypes and shapes of their tensors.

Importing this costs neither numpy nor gRPC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .about import QUESTION, SIGNATURE, TEXT, About
from .html import caption, table

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
    "DT_COMPLEX64": "complex64",
    "DT_COMPLEX128": "complex128",
    # numpy has none of these: outputs come as the float32 of the same value, and bfloat16 inputs
    # are rounded from it.
    "DT_BFLOAT16": "bfloat16",
    "DT_FLOAT8_E5M2": "float8_e5m2",
    "DT_FLOAT8_E4M3FN": "float8_e4m3fn",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature."""

    name: str
    dtype: str
    """numpy's name, `string`, or TF's own (`DT_BFLOAT16`) where the client has no such type."""
    shape: tuple[int | None, ...] | None
    """None for a dimension of any size; None as a whole for any number of dimensions."""
    composite: str = ""
    """`ragged`, `sparse` or `composite` for what is several tensors in one, which TensorFlow
    Serving neither takes nor gives; empty for a tensor."""

    def __str__(self) -> str:
        if self.composite:
            return f"{self.composite} tensor, which is not served"
        return f"{self.dtype} {format_shape(self.shape)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a model."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @property
    def is_about(self) -> bool:
        """Whether it is the one by which a model says what it is."""
        ways = ((self.inputs, QUESTION), (self.outputs, TEXT))
        return self.name == SIGNATURE and all(
            tensors.keys() == {name} and tensors[name].dtype == "string" for tensors, name in ways
        )


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a loaded version of a model takes and gives."""

    model: str
    version: int
    signatures: Mapping[str, Signature]
    about: About | None = None
    """What the model says of itself, if it does; None also where it was not asked."""

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        rows = [
            (signature.name, way, spec.name, *_kind(spec))
            for signature in self.signatures.values()
            for way, tensors in (("takes", signature.inputs), ("gives", signature.outputs))
            for spec in tensors.values()
        ]
        head = ("signature", "", "name", "dtype", "shape")
        return table(caption(self.model, self.version, None), head, rows)


def _kind(spec: TensorSpec) -> tuple[str, str]:
    return (str(spec), "") if spec.composite else (spec.dtype, format_shape(spec.shape))


def format_shape(shape: tuple[int | None, ...] | None) -> str:
    """Return `[?, 784]` for (None, 784), and `[...]` for a shape of unknown rank."""
    if shape is None:
        return "[...]"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
