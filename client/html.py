"""Tables as HTML for notebooks: escaped, with neither scripts nor links.

It knows none of the client's types: each of them says itself what its table holds. Colours are
left to the notebook's theme, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

LONGEST = 200
"""Characters of one cell: the pixels of a picture do not belong on a page."""


class Bar(NamedTuple):
    """A share of 1 as two cells: drawn, and in percent.

    A number outside 0..1 (scores need not be probabilities) is drawn as the nearest that is inside,
    and written as it is.
    """

    share: float


def table(
    caption: str | None, head: Sequence[str] | None, rows: Iterable[Sequence[str | Bar]]
) -> str:
    """Return a table of texts and bars."""
    title = "" if caption is None else f"<caption>{escape(caption)}</caption>"
    header = "" if head is None else _row(head, "th")
    return f"<table>{title}{header}{''.join(_row(row, 'td') for row in rows)}</table>"


def caption(model: str, version: int | None, signature: str | None) -> str:
    """Return `mnist version 3, predict_object`, without the parts that are None."""
    text = model if version is None else f"{model} version {version}"
    return text if signature is None else f"{text}, {signature}"


def short(value: Any) -> str:
    """Return a text, or how Python writes another value, cut to `LONGEST` characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _row(cells: Sequence[str | Bar], tag: str) -> str:
    return "<tr>" + "".join(_cell(cell, tag) for cell in cells) + "</tr>"


def _cell(cell: str | Bar, tag: str) -> str:
    if isinstance(cell, str):
        return f"<{tag}>{escape(cell)}</{tag}>"
    width = min(max(cell.share, 0.0), 1.0)
    number = f"{cell.share:.2%}" if 0 <= cell.share <= 1 else f"{cell.share:.4g}"
    return (
        '<td style="width:10em;text-align:left"><div style="background:currentColor;opacity:.5;'
        f'height:.8em;width:{width:.1%}"></div></td><td>{number}</td>'
    )
