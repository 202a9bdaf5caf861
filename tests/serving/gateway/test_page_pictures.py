"""The pictures of docs/page.md, made anew from the page as it is.

`DOCUMENTATION_IMAGES=docs/images pytest tests/serving/gateway/test_page_pictures.py -n0` writes
them where the documentation has them; without the variable they are made all the same, and left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.conftest import OfModel
from tests.serving.gateway.running import band_picture
from tests.serving.gateway.visit import Visit
from tests.serving_fixtures import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

MOST_BYTES = 60_000
"""Of one picture: they are part of every clone."""

NAMES = ("pictures", "table", "text", "map", "error", "phone")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def pictures(page: Page, of_model: OfModel, folder: Path) -> None:
    page.looks(1000, 720, prefers_reduced_motion="reduce")
    visit = Visit(page, of_model("digits"))
    for digit in (3, 8):
        band_picture(digit).save(folder / f"{digit}.png")
    Image.new("L", (60, 60)).save(folder / "blank.png")
    visit.give(folder / "3.png", folder / "blank.png", folder / "8.png")


def table(page: Page, of_model: OfModel, _: Path) -> None:
    page.looks(1000, 860, prefers_reduced_motion="reduce")
    visit = Visit(page, of_model("houses"))
    visit.fill("district", "hill")
    visit.fill("garden", "true")
    visit.ask()
    visit.click("#code summary")


def text(page: Page, of_model: OfModel, _: Path) -> None:
    page.looks(1000, 460, prefers_reduced_motion="reduce")
    visit = Visit(page, of_model("messages"))
    visit.fill("text", "where is my parcel?")
    visit.ask()


def map_(page: Page, of_model: OfModel, folder: Path) -> None:
    page.looks(1000, 820, prefers_reduced_motion="reduce", prefers_color_scheme="dark")
    photo = Image.new("RGB", (640, 480), (40, 40, 40))
    draw = ImageDraw.Draw(photo)
    draw.ellipse((60, 80, 300, 400), fill=(30, 200, 60))
    draw.rectangle((340, 150, 600, 420), fill=(40, 60, 230))
    photo.save(folder / "photo.png")
    Visit(page, of_model("segments")).give(folder / "photo.png")


def error(page: Page, of_model: OfModel, folder: Path) -> None:
    page.looks(1000, 680, prefers_reduced_motion="reduce")
    Image.new("L", (60, 60)).save(folder / "blank.png")
    Visit(page, of_model("digits")).give(folder / "blank.png")
    page.complaints.clear()


def phone(page: Page, of_model: OfModel, _: Path) -> None:
    page.looks(390, 844, touch=True, prefers_reduced_motion="reduce")
    Visit(page, of_model("digits"))
    left, top, width = page.evaluate(
        "(() => { const box = canvas.getBoundingClientRect();"
        " return [box.left, box.top, box.width]; })()"
    )
    page.touch([(left + x * width, top + y * width) for x, y in ((0.1, 0.34), (0.9, 0.38))])
    page.wait_for("document.querySelector('.bars')")


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_shows_the_page(
    browser: Page, of_model: OfModel, tmp_path: Path, name: str
) -> None:
    show: Callable[[Page, OfModel, Path], None] = globals()[name if name != "map" else "map_"]
    browser.send("Emulation.setScrollbarsHidden", hidden=True)
    show(browser, of_model, tmp_path)
    browser.wait_for("[...document.images].every((each) => each.complete)")
    browser.screenshot(tmp_path / "page.png", window=True)
    small = Image.open(tmp_path / "page.png").convert("RGB").quantize(128, dither=0)
    folder = Path(os.environ.get("DOCUMENTATION_IMAGES") or tmp_path)
    file = ROOT / folder / f"page-{name}.png"
    small.save(file, optimize=True)
    assert 2000 < file.stat().st_size < MOST_BYTES
    assert (ROOT / "docs/images" / file.name).exists()
    assert f"images/{file.name}" in (ROOT / "docs/page.md").read_text()
