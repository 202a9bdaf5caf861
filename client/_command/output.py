"""Results as the command prints them: a line of text, or JSON whose keys do not change."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

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
    """Return `3.png: 3 (three)  3 (three) 99.70%, 0 (zero) 0.03%`."""
    said = answer.prediction
    text = f"{answer.source}: {said if isinstance(said, (int, str)) else json.dumps(said)}"
    if answer.label is not None:
        text += f" ({answer.label})"
    if answer.scores:
        text += "  " + ", ".join(_score_text(score) for score in answer.scores)
    return text


def _score_text(score: Score) -> str:
    name = f" ({score.label})" if score.label is not None else ""
    return f"{score.class_}{name} {score.probability:.2%}"


def answers_json(model: str, answers: Sequence[ExamplePrediction]) -> dict[str, Any]:
    """Return the object that `predict --json` prints; `answers` are of one signature.

    Without answers, version and signature are null.
    """
    return {
        "model": model,
        "version": answers[0].version if answers else None,
        "signature": answers[0].signature if answers else None,
        "predictions": [_answer_json(answer) for answer in answers],
    }


def _answer_json(answer: ExamplePrediction) -> dict[str, Any]:
    result = {
        "source": answer.source,
        "prediction": _finite(answer.prediction),
        "inverted": answer.inverted,
    }
    if answer.label is not None:
        result["label"] = answer.label
    if answer.scores:
        result["scores"] = [_score_json(score) for score in answer.scores]
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


def metadata_json(metadata: ModelMetadata) -> dict[str, Any]:
    """Return the object that `metadata --json` prints."""

    def spec_json(spec: TensorSpec) -> dict[str, Any]:
        return {"dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)}

    return {
        "model": metadata.model,
        "version": metadata.version,
        "signatures": {
            signature.name: {
                "inputs": {name: spec_json(spec) for name, spec in signature.inputs.items()},
                "outputs": {name: spec_json(spec) for name, spec in signature.outputs.items()},
            }
            for signature in metadata.signatures.values()
        },
    }
