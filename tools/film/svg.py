"""The film as one SVG: pictures side by side on a strip, which jumps from one to the next.

Only CSS moves it, since a README shows pictures without their scripts. Who wants no motion
(`prefers-reduced-motion`) sees the terminal's last picture.
"""

import base64
from collections.abc import Sequence
from html import escape

from .page import Look, Picture
from .screen import Run, Style
from .timeline import Moment

WIDTH, BAR, HEIGHT = 900, 36, 594
"""Of a window: its width, its title's height, and its content's, in pixels."""
PAGE_SCALE = 1.09
"""The page's window is this much larger than the film's, for all of it to be seen."""
COLUMNS, ROWS = 118, 31
_MARGIN = 14
_LINE = 18.4
_CHARACTER = (WIDTH - 2 * _MARGIN) / COLUMNS
_FONT = 12.3
_BORDER = 1
# GitHub's own dark colours for terminals.
_PAPER, _INK, _QUIET, _BAR = "#0d1117", "#d7dee8", "#8b949e", "#161b22"
_COLOURS = (
    *("#6e7681", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#d7dee8"),
    *("#8b949e", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff"),
)


def film(terminal: Sequence[Moment], page: Sequence[Look], address: str) -> str:
    """Return the SVG.

    Args:
        terminal: pictures of the command, first.
        page: pictures of the page, then.
        address: of the page, for the browser's bar.
    """
    definitions = _Definitions()
    cells = [_terminal_cell(moment, definitions) for moment in terminal]
    cells += [_page_cell(look, definitions) for look in page]
    seconds = [moment.seconds for moment in terminal] + [look.seconds for look in page]
    strip = "".join(
        f'<g transform="translate({number * WIDTH})">{cell}</g>'
        for number, cell in enumerate(cells)
    )
    width, height = WIDTH + 2 * _BORDER, BAR + HEIGHT + 2 * _BORDER
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">'
        "<title>make up in a terminal, then a digit that is drawn on the page</title>"
        f"<style>{_style(seconds, len(terminal) - 1)}</style><defs>"
        f"{_windows(address)}{definitions}"
        f'<clipPath id="w"><rect width="{WIDTH}" height="{BAR + HEIGHT}" rx="9"/></clipPath></defs>'
        f'<g transform="translate({_BORDER} {_BORDER})"><g clip-path="url(#w)">'
        f'<g class="strip">{strip}</g></g>'
        f'<rect width="{WIDTH}" height="{BAR + HEIGHT}" rx="9" class="edge"/></g></svg>\n'
    )


class _Definitions:
    """Parts that several pictures have: each is written once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def use(self, kind: str, part: str) -> str:
        """Return the reference to a part; `kind` is the letter that its name begins with."""
        name = self._names.setdefault(part, f"{kind}{len(self._names)}")
        return f'<use href="#{name}"/>'

    def __str__(self) -> str:
        return "".join(f'<g id="{name}">{part}</g>' for part, name in self._names.items())


def _style(seconds: Sequence[float], still: int) -> str:
    total = sum(seconds)
    at, keys = 0.0, []
    for number, one in enumerate(seconds):
        keys.append(f"{100 * at / total:.3f}%{{transform:translateX({-number * WIDTH}px)}}")
        at += one
    keys.append(f"100%{{transform:translateX({-(len(seconds) - 1) * WIDTH}px)}}")
    return (
        f"text{{font:{_FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',"
        f"monospace;fill:{_INK};white-space:pre}}.b{{font-weight:700}}.d{{opacity:.65}}"
        f".u{{text-decoration:underline}}.bar{{font:12.5px system-ui,-apple-system,'Segoe UI',"
        f"sans-serif;fill:{_QUIET}}}.edge{{fill:none;stroke:#8b949e;stroke-opacity:.45}}"
        f".strip{{animation:film {total:.2f}s steps(1,end) infinite}}"
        f"@keyframes film{{{''.join(keys)}}}"
        "@media (prefers-reduced-motion:reduce){.strip{animation:none;"
        f"transform:translateX({-still * WIDTH}px)}}}}"
    )


def _windows(address: str) -> str:
    """Return what stays the same around the terminal, and around the page."""
    buttons = "".join(
        f'<circle cx="{20 + 20 * number}" cy="{BAR / 2}" r="6" fill="{colour}"/>'
        for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    window = (
        f'<rect width="{WIDTH}" height="{BAR + HEIGHT}" fill="{_PAPER}"/>'
        f'<rect width="{WIDTH}" height="{BAR}" fill="{_BAR}"/>{buttons}'
    )
    middle, line = WIDTH / 2, BAR / 2 + 4.5
    place = f'class="bar" x="{middle}" y="{line}" text-anchor="middle"'
    return (
        f'<g id="terminal">{window}<text {place}>dlstack: make up</text></g>'
        f'<g id="browser">{window}'
        f'<rect x="{middle - 150}" y="6" width="300" height="{BAR - 12}" rx="6" fill="{_PAPER}"/>'
        f"<text {place}>{escape(address)}</text></g>"
        '<path id="pointer" d="M0 0v17l4-4 3 7 3-1-3-7h6z" fill="#fff" stroke="#000"/>'
    )


def _terminal_cell(moment: Moment, definitions: _Definitions) -> str:
    rows = "".join(
        f'<g transform="translate(0 {BAR + _MARGIN + row * _LINE:.1f})">'
        f"{definitions.use('l', ''.join(map(_text, line)))}</g>"
        for row, line in enumerate(moment.lines)
        if line
    )
    clock = ""
    if moment.clock is not None:
        clock = (
            f'<text class="bar" x="{WIDTH - _MARGIN}" y="{BAR / 2 + 4.5}" text-anchor="end">'
            f"{_clock(moment.clock)}, waits shortened</text>"
        )
    return f'<use href="#terminal"/>{definitions.use("s", rows)}{clock}'


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _text(run: Run) -> str:
    """Return characters at their columns, however wide the reader's font makes them."""
    x = _MARGIN + run.column * _CHARACTER
    width = len(run.text) * _CHARACTER
    return (
        f'<text x="{x:.1f}" y="10" textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
        f"{_look(run.style)}>{escape(run.text, quote=False)}</text>"
    )


def _look(style: Style) -> str:
    marks = (("b", style.bold), ("d", style.dim), ("u", style.underlined))
    names = " ".join(name for name, is_set in marks if is_set)
    colour = "" if style.colour is None else f' style="fill:{_COLOURS[style.colour]}"'
    return (f' class="{names}"' if names else "") + colour


def _page_cell(look: Look, definitions: _Definitions) -> str:
    pictures = "".join(definitions.use("p", _image(picture)) for picture in look.pictures)
    x, y = look.pointer
    return (
        f'<use href="#browser"/><g transform="translate(0 {BAR}) scale({1 / PAGE_SCALE:.4f})">'
        f"{pictures}"
        f'<use href="#pointer" x="{x:.1f}" y="{y:.1f}"/></g>'
    )


def _image(picture: Picture) -> str:
    x, y, width, height = picture.box
    data = base64.b64encode(picture.webp).decode()
    return (
        f'<image x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'href="data:image/webp;base64,{data}"/>'
    )
