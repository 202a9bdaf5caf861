"""What a model says of itself, to whoever draws a form for it: the signature `about`.

The contract is in docs/contracts.md. A title, what inputs mean, the names of classes: of all this
a SavedModel's metadata knows nothing.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from training.command_line import TrainingError
from training.quiet_tensorflow import tf

SIGNATURE = "about"
QUESTION, ANSWER = "question", "json"
"""Aliases of its input, which nobody reads, and of its output."""

_MOST_QUESTIONS = 1024
"""Rows of one request. Each gets the whole text, so a few bytes could ask for gigabytes."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(map(_is_number, value))
        and value[0] < value[1]
    )


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_text, value))


def _is_choices(value: Any) -> bool:
    scalars = str | int | float
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(one, scalars) for one in value)
    )


_Rule = tuple[Callable[[Any], bool], str]
_TEXT: _Rule = (_is_text, "a text that is not empty")
_TENSORS: Mapping[str, Mapping[str, _Rule]] = {
    "inputs": {
        "description": _TEXT,
        "range": (_is_range, "two finite numbers, the lower one first, such as [0, 255]"),
        "choices": (_is_choices, "a list of texts or numbers, with one at least"),
        "drawing": (lambda value: isinstance(value, bool), "True or False"),
        "example": (lambda _: True, "anything"),
        "unit": _TEXT,
    },
    "outputs": {
        "labels": (_is_list_of_texts, "a list of texts, one for each class"),
        "description": _TEXT,
        "unit": _TEXT,
    },
}


def text_of(about: Mapping[str, Any]) -> str:
    """Return the JSON text of what a model says of itself.

    Raises:
        TrainingError: it has an unknown key, a value of another kind, or something that JSON lacks.
    """
    _check_keys(about, "about", ("title", *_TENSORS))
    if "title" in about:
        _check(about["title"], "about['title']", _TEXT)
    for side, rules in _TENSORS.items():
        if side not in about:
            continue
        for alias, told in _object(about[side], f"about['{side}']").items():
            place = f"about['{side}'][{alias!r}]"
            _check_keys(told, place, rules)
            for key, value in told.items():
                _check(value, f"{place}[{key!r}]", rules[key])
    try:
        return json.dumps(about, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"about can't be written as JSON ({error}). Give texts, finite numbers, lists, "
            "objects, True, False and None: of an array, array.tolist()."
        ) from error


def check_about(about: Mapping[str, Any], signatures: Mapping[str, Any]) -> None:
    """Refuse an `about` that can't be written, or does not fit the model's signatures.

    It traces the signatures, which an export then need not do again.

    Args:
        signatures: name -> tf.function with an input signature, or a concrete function.

    Raises:
        TrainingError: an unknown key, a value of another kind, something that JSON lacks, a tensor
            that no signature has, or a signature `about` that is there already.
    """
    text_of(about)
    if SIGNATURE in signatures:
        raise TrainingError(
            f"The model has a signature {SIGNATURE!r} of its own, and `about` beside it. Give that "
            "signature another name, or leave `about` out."
        )
    inputs: set[str] = set()
    outputs: set[str] = set()
    for function in signatures.values():
        concrete = concrete_function(function)
        inputs |= {spec.name for spec in tf.nest.flatten(concrete.structured_input_signature)}
        if isinstance(concrete.structured_outputs, Mapping):
            outputs |= set(concrete.structured_outputs)
        else:
            count = len(tf.nest.flatten(concrete.structured_outputs))
            outputs |= {f"output_{number}" for number in range(count)}
    check_names(about, inputs, outputs)


def check_names(
    about: Mapping[str, Any], inputs: Collection[str], outputs: Collection[str]
) -> None:
    """Refuse an `about` that tells of a tensor that no signature has.

    Raises:
        TrainingError: it does.
    """
    for side, known in (("inputs", inputs), ("outputs", outputs)):
        for alias in about.get(side, {}):
            if alias not in known:
                raise TrainingError(
                    f"about['{side}'] tells of {alias!r}, which is no {side[:-1]} of any "
                    f"signature. Use one of: {', '.join(sorted(known)) or 'none'}."
                )


def concrete_function(function: Any) -> Any:
    """Return a signature's graph, traced unless it was before."""
    if isinstance(function, tf.types.experimental.PolymorphicFunction):
        return function.get_concrete_function()
    return function


def about_signature(about: Mapping[str, Any]) -> "tf.types.experimental.PolymorphicFunction":
    """Return the signature that answers every row of `question` with the JSON text.

    One answer for each row, so that servers may batch it as any other.

    Raises:
        TrainingError: see `text_of`.
    """
    text = text_of(about)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None], tf.string, name=QUESTION)], autograph=False
    )
    def answer(question: "tf.Tensor") -> "dict[str, tf.Tensor]":
        rows = tf.size(question)
        few = tf.debugging.assert_less_equal(
            rows, _MOST_QUESTIONS, f"one request may ask at most {_MOST_QUESTIONS} questions"
        )
        with tf.control_dependencies([few]):
            return {ANSWER: tf.fill([rows], text)}

    return answer


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TrainingError(f"{place} is {value!r}. Give an object, such as {{'name': {{…}}}}.")
    return value


def _check_keys(value: Any, place: str, known: Collection[str]) -> None:
    for key in _object(value, place):
        if key not in known:
            raise TrainingError(f"{place} has the key {key!r}. Use only: {', '.join(known)}.")


def _check(value: Any, place: str, rule: _Rule) -> None:
    fits, wanted = rule
    if not fits(value):
        raise TrainingError(f"{place} is {value!r}. Give {wanted}.")
