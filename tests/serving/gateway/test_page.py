"""The page in a real browser: drawing by mouse, finger and keyboard, files, errors, its looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.test_gateway import Gateway, gateway  # noqa: F401  (a fixture)
from tests.serving.gateway.test_pictures import seven

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

DIGIT = "document.getElementById('digit').textContent"
ANSWERED = f"/^[0-9]$/.test({DIGIT})"
SEVEN = [(60, 60), (130, 58), (200, 60), (170, 120), (140, 180), (120, 240)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser: Page, gateway: Gateway) -> Iterator[Page]:  # noqa: F811
    """The page, freshly opened; nothing may have gone wrong on it in the end."""
    browser.complaints.clear()
    browser.open("about:blank")
    browser.open(f"http://127.0.0.1:{gateway.port}/")
    browser.wait_for("document.querySelector('.chip.good')")
    yield browser
    browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
    browser.send("Emulation.clearDeviceMetricsOverride")
    browser.send("Emulation.setEmulatedMedia", features=[])
    assert browser.complaints == []


def on_canvas(page: Page, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points given in the drawing's 280x280 pixels as places in the window."""
    left, top, width = page.evaluate(
        "(() => { const box = canvas.getBoundingClientRect();"
        " return [box.left, box.top, box.width]; })()"
    )
    return [(left + x * width / 280, top + y * width / 280) for x, y in points]


def upload(page: Page, *paths: Path) -> None:
    root = page.send("DOM.getDocument")["root"]["nodeId"]
    node = page.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])


def test_the_model_and_its_figures_are_shown(page: Page) -> None:
    text = page.evaluate("document.querySelector('header').innerText")
    for part in ("mnist", "version 7", "available", "accuracy 99.10 %", "TensorBoard"):
        assert part in text
    assert "seconds" not in text, "what training took is below"
    facts = page.evaluate("document.querySelector('footer').innerText")
    for part in ("steps 1406", "train seconds 22.17", "run abababababab"):
        assert part in facts
    link = page.evaluate("document.querySelector('header a').href")
    assert link == "http://tensorboard.example:6006/"


def test_a_digit_drawn_with_the_mouse_is_answered(page: Page) -> None:
    page.drag(on_canvas(page, SEVEN))
    page.wait_for(ANSWERED)
    total = page.evaluate(
        "[...document.querySelectorAll('.percent')]"
        ".reduce((sum, each) => sum + parseFloat(each.innerText), 0)"
    )
    assert total == pytest.approx(100, abs=1)
    assert page.evaluate("document.querySelector('.best').firstChild.textContent") == (
        page.evaluate(DIGIT)
    )
    assert page.evaluate("document.getElementById('seen').naturalWidth") == 28
    page.evaluate("document.getElementById('clear').click()")
    assert page.evaluate(DIGIT) == "–"


def test_a_digit_drawn_with_a_finger_on_a_phone_is_answered(page: Page) -> None:
    page.send(
        "Emulation.setDeviceMetricsOverride",
        width=390,
        height=844,
        deviceScaleFactor=2,
        mobile=True,
    )
    page.send("Emulation.setTouchEmulationEnabled", enabled=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scroll"
    page.touch(on_canvas(page, SEVEN))
    page.wait_for(ANSWERED)


def test_a_digit_drawn_with_the_keyboard_is_answered(page: Page) -> None:
    page.evaluate("canvas.focus()")
    page.press("ArrowUp", 38, times=8)
    page.press(" ", 32)
    page.press("ArrowDown", 40, times=16)
    page.wait_for(ANSWERED)
    page.press("Delete", 46)
    assert page.evaluate(DIGIT) == "–"


def test_files_are_answered_one_by_one(page: Page, tmp_path: Path) -> None:
    seven().save(tmp_path / "a.png")
    seven(ink=0, paper=255).convert("RGB").save(tmp_path / "b.jpg")
    upload(page, tmp_path / "a.png", tmp_path / "b.jpg")
    page.wait_for("document.querySelectorAll('#more button').length === 2")
    page.evaluate("document.querySelectorAll('#more button')[1].click()")
    assert page.evaluate("document.querySelector('#more [aria-pressed=true]').title") == "b.jpg"


def test_a_picture_without_a_digit_is_explained(page: Page, tmp_path: Path) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    upload(page, tmp_path / "blank.png")
    page.wait_for("!document.getElementById('error').hidden")
    text = page.evaluate("document.getElementById('error').textContent")
    assert text.startswith("Picture 'blank.png' can't be used: it is empty")
    # The browser itself notes the 400; nothing else may have gone wrong.
    assert all("400" in complaint for complaint in page.complaints)
    page.complaints.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1200, 800), (390, 844)], ids=["desktop", "phone"])
def test_the_answer_is_in_sight_beside_or_below_the_drawing(
    page: Page, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    page.send(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=width < 600,
    )
    # Without motion the bars are as long as they get at once.
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    page.send(
        "Emulation.setEmulatedMedia",
        features=[{"name": name, "value": value} for name, value in features.items()],
    )
    page.drag(on_canvas(page, SEVEN))
    page.wait_for(ANSWERED)
    page.wait_for("document.getElementById('seen').complete")
    page.screenshot(tmp_path / "page.png")
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert picture.shape[0] >= height
    assert picture.shape[1] == width, "no sideways scroll"

    def of(selector: str) -> tuple[np.ndarray, float]:
        """Return an element's part of the picture, and how far down it ends."""
        left, top, right, bottom = page.evaluate(
            f"(() => {{ const box = document.querySelector('{selector}').getBoundingClientRect();"
            " return [box.left, box.top + scrollY, box.right, box.bottom + scrollY]; })()"
        )
        return picture[round(top) : round(bottom), round(left) : round(right)], bottom

    assert (picture[0, 0] > 200) == (scheme == "light")
    pad, _ = of("#canvas")
    assert 0.02 < (pad > 200).mean() < 0.3, "white strokes on black"
    seen, _ = of("#seen")
    assert 0.02 < (seen > 128).mean() < 0.5, "the model's view of them"
    digit, end = of("#digit")
    assert digit.std() > 20, "the answer is painted"
    assert end <= height, "without scrolling"
    best, _ = of(".best .fill")
    assert best.shape[1] > 10, "a bar that can be seen"
    assert len(page.evaluate("document.querySelector('.best').innerText").split()) == 3
