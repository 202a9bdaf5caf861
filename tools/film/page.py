"""The page in a browser: a digit is drawn, and the answer appears."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.serving.gateway.chromium import Page, chromium

_SHARPNESS = 2
"""Pixels of a screenshot for one of the film."""
_QUALITY = 80
# Of the drawing's 280 by 280 pixels.
_THREE = [
    *((78, 78), (104, 52), (140, 44), (176, 54), (192, 84), (178, 114), (146, 130), (124, 134)),
    *((156, 138), (190, 156), (202, 190), (186, 222), (148, 238), (108, 230), (78, 204)),
]
_STEPS = 4
"""Places of the pen from one of these points to the next."""
ANSWERED = "/^[0-9]$/.test(document.getElementById('best')?.textContent)"


class Picture(NamedTuple):
    """A part of the page at one moment."""

    box: tuple[float, float, float, float]
    """Left, top, width and height in the window."""
    webp: bytes


class Look(NamedTuple):
    """What the film shows of the page at one moment."""

    seconds: float
    pictures: Sequence[Picture]
    """One on the other."""
    pointer: tuple[float, float]
    """Where the mouse is in the window."""


def looks(url: str, width: int, height: int) -> list[Look]:
    """Draw a digit on the page at `url`, in a window of this size; return what was to be seen.

    Raises:
        AssertionError: the page doesn't answer.
    """
    # Chromium still writes into the folder of its profile when it is killed.
    with (
        tempfile.TemporaryDirectory(prefix="dlstack-film-", ignore_cleanup_errors=True) as profile,
        chromium(Path(profile)) as page,
    ):
        dark = {"name": "prefers-color-scheme", "value": "dark"}
        page.send("Emulation.setEmulatedMedia", features=[dark])
        page.send(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": _SHARPNESS, "mobile": False},
        )
        page.send("Emulation.setScrollbarsHidden", hidden=True)
        page.open(url)
        page.wait_for("document.querySelector('.chip.good') && document.getElementById('canvas')")
        return list(_drawn(page, (0, 0, width, height)))


def _drawn(page: Page, window: tuple[float, float, float, float]) -> Iterator[Look]:
    before = _picture(page, window)
    left, top, size = page.evaluate(
        "(() => { const box = canvas.getBoundingClientRect();"
        " return [box.left, box.top, box.width]; })()"
    )
    canvas = (left, top, size, size)
    places = [(left + x * size / 280, top + y * size / 280) for x, y in _path()]
    yield Look(1.0, [before], (left + size * 0.75, top + size * 0.9))
    yield Look(0.4, [before], places[0])
    for number, place in enumerate(places):
        _mouse(page, "mouseMoved" if number else "mousePressed", place)
        if number % 3 == 0:
            yield Look(0.09, [before, _picture(page, canvas)], place)
    _mouse(page, "mouseReleased", places[-1])
    page.wait_for(ANSWERED)
    # The bars grow for 0.2 s.
    page.wait_for("document.getAnimations().length === 0")
    yield Look(4.5, [_picture(page, window)], places[-1])


def _path() -> list[tuple[float, float]]:
    """Return places on a smooth line through all points (Catmull-Rom)."""
    points = [_THREE[0], *_THREE, _THREE[-1]]
    found: list[tuple[float, float]] = [_THREE[0]]
    for number in range(len(_THREE) - 1):
        around = points[number : number + 4]
        for step in range(1, _STEPS + 1):
            x, y = (_between([point[axis] for point in around], step / _STEPS) for axis in (0, 1))
            found.append((x, y))
    return found


def _between(values: Sequence[float], share: float) -> float:
    before, first, second, after = values
    slope = second - before
    bend = 2 * before - 5 * first + 4 * second - after
    turn = 3 * (first - second) + after - before
    return first + share * (slope + share * (bend + share * turn)) / 2


def _mouse(page: Page, kind: str, place: tuple[float, float]) -> None:
    x, y = place
    pressed = {"button": "left", "buttons": 1, "clickCount": 1}
    page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)


def _picture(page: Page, box: tuple[float, float, float, float]) -> Picture:
    x, y, width, height = box
    answer = page.send(
        "Page.captureScreenshot",
        format="webp",
        quality=_QUALITY,
        clip={"x": x, "y": y, "width": width, "height": height, "scale": 1},
    )
    return Picture(box, base64.b64decode(answer["data"]))
