"""Results as HTML for notebooks: one table each, escaped, with neither scripts nor links.

Colours are left to the notebook's theme, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .specs import format_shape

if TYPE_CHECKING:
    from .specs import ExamplePrediction, ModelMetadata, ModelStatus, Prediction, Score

#: Characters of one cell: a picture's pixels do not belong on a page.
_LONGEST = 200
#: Lines of a table of examples.
_MOST = 200


def prediction_html(prediction: Prediction) -> str:
    """Return a table of the outputs."""
    rows = [
        (name, _dtype(array), format_shape(array.shape), _values(array))
        for name, array in prediction.outputs.items()
    ]
    title = _title(prediction.model, prediction.version, prediction.signature)
    return _table(title, ("output", "dtype", "shape", "values"), rows)


def example_html(example: ExamplePrediction) -> str:
    """Return the answer, and a bar for each of the most probable classes."""
    title = _title(example.model, example.version, example.signature)
    rows = [("source", _short(example.source)), ("prediction", _said(example))]
    if example.inverted:
        rows.append(("inverted", "dark on light"))
    table = _table(title, None, rows)
    bars = "".join(
        f"<tr><td>{escape(str(score.class_))}</td><td>{escape(_short(score.label or ''))}</td>"
        f"{_bar(score)}</tr>"
        for score in example.scores
    )
    return table + (f"<table>{bars}</table>" if bars else "")


def examples_html(examples: Sequence[ExamplePrediction]) -> str:
    """Return a line for each example, with a bar for its most probable class."""
    if not examples:
        return _table("no examples", None, ())
    rows = "".join(
        f"<tr><td>{escape(_short(example.source))}</td><td>{escape(_said(example))}</td>"
        + (_bar(example.scores[0]) if example.scores else "<td></td><td></td>")
        + f"<td>{'inverted' if example.inverted else ''}</td></tr>"
        for example in examples[:_MOST]
    )
    if len(examples) > _MOST:
        rows += f"<tr><td>and {len(examples) - _MOST} more</td></tr>"
    first = examples[0]
    title = escape(_title(first.model, first.version, first.signature))
    head = "<tr><th>source</th><th>prediction</th><th></th><th></th><th></th></tr>"
    return f"<table><caption>{title}</caption>{head}{rows}</table>"


def metadata_html(metadata: ModelMetadata) -> str:
    """Return a table of all inputs and outputs of all signatures."""
    rows = [
        (signature.name, way, spec.name, spec.dtype, format_shape(spec.shape))
        for signature in metadata.signatures.values()
        for way, specs in (("takes", signature.inputs), ("gives", signature.outputs))
        for spec in specs.values()
    ]
    title = _title(metadata.model, metadata.version, None)
    return _table(title, ("signature", "", "name", "dtype", "shape"), rows)


def status_html(status: ModelStatus) -> str:
    """Return a table of the versions."""
    rows = [
        (str(entry.version), entry.state, entry.error_code, entry.error_message)
        for entry in status.versions
    ]
    return _table(_title(status.model, None, None), ("version", "state", "code", "message"), rows)


def _said(example: ExamplePrediction) -> str:
    said = _short(example.prediction)
    return said if example.label is None else f"{said} ({_short(example.label)})"


def _bar(score: Score) -> str:
    # Scores may be of another output than probabilities: 0..1 only is drawn.
    width = min(max(score.probability, 0.0), 1.0)
    return (
        '<td style="width:10em;text-align:left"><div style="background:currentColor;opacity:.5;'
        f'height:.8em;width:{width:.1%}"></div></td><td>{score.probability:.2%}</td>'
    )


def _values(array: Any) -> str:
    # Not all of millions, of which a few would be shown.
    return _short((array if array.size <= _LONGEST else array.ravel()[:_LONGEST]).tolist())


def _dtype(array: Any) -> str:
    return "string" if array.dtype == object else str(array.dtype)


def _title(model: str, version: int | None, signature: str | None) -> str:
    text = model if version is None else f"{model} version {version}"
    return text if signature is None else f"{text}, {signature}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _table(title: str, head: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    header = line(head, "th") if head else ""
    body = "".join(line(row, "td") for row in rows)
    return f"<table><caption>{escape(title)}</caption>{header}{body}</table>"
