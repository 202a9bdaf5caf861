"""Results as the command prints them: a line of text, or JSON whose keys do not change."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..about import TensorAbout
from ..errors import PredictionError
from ..results import ExamplePrediction, ModelStatus, Score
from ..specs import ModelMetadata, TensorSpec


def printable(text: str) -> str:
    """Return `text` with what would break its line or move a terminal's cursor escaped.

    File names and a server's texts may hold such characters. Surrogates stay: they stand for the
    bytes of names that are not text.
    """
    return "".join(
        char if char.isprintable() or "\ud800" <= char <= "\udfff" else repr(char)[1:-1]
        for char in text
    )


def answer_text(answer: ExamplePrediction) -> str:
    """Return `3.png: 3 (three) 99.70%`, with `scores` `3.png: 3 (three) 99.70%, 0 (zero) 0.03%`."""
    text = f"{answer.source}: "
    if answer.scores and answer.scores[0].probability == answer.confidence:
        return text + ", ".join(map(_score_text, answer.scores))
    said = answer.prediction
    text += str(said) if isinstance(said, (int, str)) else json.dumps(said, ensure_ascii=False)
    text += f" {answer.unit}" if answer.unit else ""
    text += f" ({answer.label})" if answer.label is not None else ""
    text += "" if answer.confidence is None else f" {_share(answer.confidence)}"
    if answer.scores:
        text += ": " + ", ".join(map(_score_text, answer.scores))
    return text


def _score_text(score: Score) -> str:
    if score.class_ is None:
        return f"{score.label} {_share(score.probability)}"
    name = f" ({score.label})" if score.label is not None else ""
    return f"{score.class_}{name} {_share(score.probability)}"


def _share(number: float) -> str:
    """Return a probability in percent, and another number, such as a logit, as it is."""
    return f"{number:.2%}" if 0 <= number <= 1 else f"{number:.4g}"


def answers_json(
    model: str, answers: Sequence[ExamplePrediction], errors: Sequence[PredictionError]
) -> dict[str, Any]:
    """Return the object that `predict --json` prints.

    Version and signature are those of the first answer; without answers they are null.
    """
    return {
        "model": model,
        "version": answers[0].version if answers else None,
        "signature": answers[0].signature if answers else None,
        "predictions": [answer_json(answer) for answer in answers],
        "errors": [{"source": error.source, "error": str(error)} for error in errors],
    }


def answer_json(answer: ExamplePrediction) -> dict[str, Any]:
    """Return the object of one answer; what it does not have has no key."""
    result: dict[str, Any] = {"source": answer.source, "prediction": _finite(answer.prediction)}
    if answer.label is not None:
        result["label"] = answer.label
    if answer.confidence is not None:
        result["confidence"] = _finite(answer.confidence)
    if answer.unit:
        result["unit"] = answer.unit
    if answer.outputs:
        result["outputs"] = _finite(dict(answer.outputs))
    if answer.scores:
        result["scores"] = [_score_json(score) for score in answer.scores]
    if answer.cells:
        result["columns"] = dict(answer.cells)
    return result


def _score_json(score: Score) -> dict[str, Any]:
    result = {"class": score.class_, "probability": _finite(score.probability)}
    return result if score.label is None else {**result, "label": score.label}


def _finite(value: Any) -> Any:
    """Return `value` with the floats that JSON has no number for as protobuf's JSON writes them."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def status_json(status: ModelStatus) -> dict[str, Any]:
    """Return the object that `status --json` prints."""
    return {
        "model": status.model,
        "versions": [
            {
                "version": version.version,
                "state": version.state,
                "error_code": version.error_code,
                "error_message": version.error_message,
            }
            for version in status.versions
        ],
    }


def about_text(about: TensorAbout) -> str:
    """Return what a model says of an input or output, to go behind its dtype and shape."""
    said = [about.description] if about.description else []
    said += [f"in {about.unit}"] if about.unit else []
    said += ["from {:g} to {:g}".format(*about.range)] if about.range else []
    said += ["one of " + ", ".join(map(str, about.choices))] if about.choices else []
    said += ["classes " + ", ".join(about.labels)] if about.labels else []
    return f" ({'; '.join(said)})" if said else ""


def metadata_json(metadata: ModelMetadata) -> dict[str, Any]:
    """Return the object that `metadata --json` prints."""

    def spec_json(spec: TensorSpec) -> dict[str, Any]:
        found = {"dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)}
        return {**found, "composite": spec.composite} if spec.composite else found

    about = {} if metadata.about is None else {"about": asdict(metadata.about)}
    return {
        "model": metadata.model,
        "version": metadata.version,
        **about,
        "signatures": {
            signature.name: {
                "inputs": {name: spec_json(spec) for name, spec in signature.inputs.items()},
                "outputs": {name: spec_json(spec) for name, spec in signature.outputs.items()},
            }
            for signature in metadata.signatures.values()
        },
    }
