"""What a model says of itself: the JSON that its signature `about` gives (docs/contracts.md).

Reading is lenient: what is not of its kind counts as absent, since nothing but hints is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The signature, its input (which nothing reads) and its output.
SIGNATURE, QUESTION, TEXT = "about", "question", "json"


@dataclass(frozen=True, slots=True)
class TensorAbout:
    """What a model says of one input or output."""

    description: str = ""
    unit: str = ""
    range: tuple[float, float] | None = None
    """Of an input of pictures: the values of black and of white."""
    choices: tuple[str | float, ...] = ()
    """Values that make sense; empty where the model names none."""
    labels: tuple[str, ...] = ()
    """Of an output: the names of classes 0, 1, ..."""


@dataclass(frozen=True, slots=True)
class About:
    """What a model says of itself; inputs and outputs by the names that signatures give them."""

    title: str = ""
    inputs: Mapping[str, TensorAbout] = field(default_factory=dict)
    outputs: Mapping[str, TensorAbout] = field(default_factory=dict)

    def input(self, name: str) -> TensorAbout:
        """Return what is said of an input: nothing, if need be."""
        return self.inputs.get(name, _NOTHING)

    def output(self, name: str) -> TensorAbout:
        """Return what is said of an output: nothing, if need be."""
        return self.outputs.get(name, _NOTHING)


_NOTHING = TensorAbout()


def read_about(text: str | bytes) -> About:
    """Return what the JSON object `text` says; nothing where it is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return About()
    document = _object(document)
    title = document.get("title")
    return About(
        title if isinstance(title, str) else "",
        _tensors(document.get("inputs")),
        _tensors(document.get("outputs")),
    )


def _tensors(value: Any) -> dict[str, TensorAbout]:
    return {name: _tensor(_object(entry)) for name, entry in _object(value).items()}


def _tensor(entry: Mapping[str, Any]) -> TensorAbout:
    description, unit = entry.get("description"), entry.get("unit")
    choices = [item for item in _list(entry.get("choices")) if isinstance(item, (str, int, float))]
    labels = _list(entry.get("labels"))
    return TensorAbout(
        description if isinstance(description, str) else "",
        unit if isinstance(unit, str) else "",
        _range(entry.get("range")),
        tuple(choices),
        tuple(labels) if all(isinstance(item, str) for item in labels) else (),
    )


def _range(value: Any) -> tuple[float, float] | None:
    ends = _list(value)
    if len(ends) != 2 or not all(isinstance(end, (int, float)) for end in ends):
        return None
    return float(ends[0]), float(ends[1])


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
