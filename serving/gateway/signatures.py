"""Which signature of a model takes encoded pictures, by its REST metadata.

There is no field for it: an input that takes picture files is a list of strings that is called
`image_bytes`, or whose name ends in `_bytes`, as REST wants it of everything that is not text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABOUT = "about"
"""Signature by which a model says what it is (docs/contracts.md); takes no example."""

PREFERRED = ("image_bytes", "serving_default", "predict_object")

Signatures = Mapping[str, Mapping[str, Any]]
"""`signature_def` of the metadata: name -> `inputs` and `outputs`, alias -> type and shape."""


def of_metadata(metadata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the signatures in the answer to `GET …/metadata` that take examples."""
    found = metadata["metadata"]["signature_def"]["signature_def"]
    return {name: each for name, each in found.items() if name != ABOUT and each.get("inputs")}


def picture_input(signature: Mapping[str, Any]) -> str | None:
    """Return the only input of a signature if it takes encoded pictures."""
    if len(signature["inputs"]) != 1:
        return None
    [(alias, tensor)] = signature["inputs"].items()
    fits = tensor["dtype"] == "DT_STRING" and shape(tensor) in ([-1], None)
    return alias if fits and alias.endswith("_bytes") else None


def for_pictures(signatures: Signatures) -> tuple[str, str] | None:
    """Return name and input of the signature that takes encoded pictures, the likeliest first."""
    names = sorted(
        signatures,
        key=lambda name: (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), name),
    )
    for name in names:
        if alias := picture_input(signatures[name]):
            return name, alias
    return None


def shape(tensor: Mapping[str, Any]) -> list[int] | None:
    """Return a tensor's sizes, -1 for those that are open; None for any number of them."""
    given = tensor["tensor_shape"]
    if given.get("unknown_rank"):
        return None
    return [int(dim["size"]) for dim in given.get("dim", [])]


def described(name: str, signature: Mapping[str, Any]) -> str:
    """Say in words what a signature takes: `'add' takes 'a' (float, [?, 2])`."""
    inputs = ", ".join(
        f"'{alias}' ({tensor['dtype'].removeprefix('DT_').lower()}, {_sizes(tensor)})"
        for alias, tensor in sorted(signature["inputs"].items())
    )
    return f"'{name}' takes {inputs}"


def _sizes(tensor: Mapping[str, Any]) -> str:
    sizes = shape(tensor)
    if sizes is None:
        return "of any shape"
    return "[" + ", ".join("?" if size < 0 else str(size) for size in sizes) + "]"
