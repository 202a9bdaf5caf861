"""The page by mouse, finger and keyboard, on phones, in the dark, and for screen readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving.gateway import model_kinds
from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.conftest import OfModel
from tests.serving.gateway.running import band_picture
from tests.serving.gateway.visit import Visit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

BAND = [(20, 98), (260, 98), (20, 104), (260, 104)]
"""A stroke that the model takes for a 3."""

_CONTRAST = """(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const over = (top, below) => top.slice(0, 3).map((c, i) =>
    c * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement)
      layers.push(parse(getComputedStyle(at).backgroundColor));
    if (node.closest('.pad')) return [0, 0, 0];
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const nodes = new Set([...document.querySelectorAll('input, textarea, select')]);
  while (walker.nextNode()) if (walker.currentNode.data.trim()) nodes.add(walker.currentNode.parentElement);
  for (const node of nodes) {
    if (!node.getClientRects().length || node.closest('.hidden, option')) continue;
    const style = getComputedStyle(node);
    const below = ground(node);
    const [a, b] = [light(over(parse(style.color), below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push([node.innerText?.slice(0, 40) ?? node.tagName, ratio]);
  }
  return poor;
})()"""  # noqa: E501


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    yield browser
    browser.looks(1200, 800)
    assert browser.complaints == []


def on_canvas(page: Page, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points given in the drawing's 280x280 pixels as places in the window."""
    left, top, width = page.evaluate(
        "(() => { const box = canvas.getBoundingClientRect();"
        " return [box.left, box.top, box.width]; })()"
    )
    return [(left + x * width / 280, top + y * width / 280) for x, y in points]


def test_a_drawing_with_the_mouse_is_answered(page: Page, of_model: OfModel) -> None:
    page.looks(1200, 800)
    digits = Visit(page, of_model("digits"))
    page.drag(on_canvas(page, BAND))
    page.wait_for("document.getElementById('best')")
    assert digits.best == "3"
    total = page.evaluate(
        "[...document.querySelectorAll('.percent')]"
        ".reduce((sum, each) => sum + parseFloat(each.innerText), 0)"
    )
    assert total == pytest.approx(100, abs=1)
    digits.click("#clear")
    assert digits.answer == "Nothing is asked yet."


def test_a_drawing_with_a_finger_on_a_phone_is_answered(page: Page, of_model: OfModel) -> None:
    page.looks(390, 844, touch=True)
    digits = Visit(page, of_model("digits"))
    assert "Take a photo" in digits.question
    page.touch(on_canvas(page, BAND))
    page.wait_for("document.getElementById('best')")
    assert digits.best == "3"


def test_a_drawing_with_the_keyboard_is_answered(page: Page, of_model: OfModel) -> None:
    page.looks(1200, 800)
    digits = Visit(page, of_model("digits"))
    assert "Take a photo" not in digits.question
    page.evaluate("canvas.focus()")
    page.press("ArrowUp", 38, times=4)
    page.press("ArrowLeft", 37, times=14)
    page.press(" ", 32)
    page.press("ArrowRight", 39, times=28)
    page.wait_for("document.getElementById('best')")
    assert digits.best == "3"
    page.press("Delete", 46)
    assert digits.answer == "Nothing is asked yet."


def test_a_drawing_that_is_cleared_before_it_is_sent_is_not_asked(
    page: Page, of_model: OfModel
) -> None:
    """Symptom: the pad was empty, and then the answer came to what had been on it."""
    page.looks(1200, 800)
    digits = Visit(page, of_model("digits"))
    page.evaluate(
        "(() => { const whole = HTMLCanvasElement.prototype.toBlob;"
        " HTMLCanvasElement.prototype.toBlob = function (done, ...rest) {"
        "  whole.call(this, (blob) => { window.goOn = () => done(blob); }, ...rest); }; })()"
    )
    page.drag(on_canvas(page, BAND))
    page.wait_for("window.goOn")
    digits.click("#clear")
    page.evaluate("goOn()")
    assert page.evaluate("document.getElementById('answer').getAttribute('aria-busy')") != "true"
    assert digits.answer == "Nothing is asked yet."


def test_a_form_is_filled_and_asked_by_keyboard_alone(page: Page, of_model: OfModel) -> None:
    page.looks(1200, 800)
    houses = Visit(page, of_model("houses"))
    page.evaluate("document.getElementById('as-json').focus()")
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.value") == "120.5"
    page.send("Input.insertText", text="10")
    page.press("Tab", 9, times=3)
    page.send(
        "Input.dispatchKeyEvent", type="keyDown", key="Enter", windowsVirtualKeyCode=13, text="\r"
    )
    page.wait_for("document.getElementById('best')")
    assert houses.best.endswith("k€")


def ask_each(page: Page, visit: Visit, model: str, folder: Path) -> None:
    """Have an answer of each kind on the page, with the code below it."""
    if model in ("houses", "messages"):
        if model == "houses":
            visit.click("#add-row")
            visit.click("details.csv summary")
        visit.ask()
    elif model in ("digits", "colours", "segments"):
        band_picture(3).save(folder / "three.png")
        visit.give(folder / "three.png", folder / "three.png")
    elif model == "sundry":
        visit.choose_signature("much")
        visit.fill("x", "1")
        visit.ask()
    if visit.value("!document.getElementById('code').hidden"):
        visit.click("#code summary")
    page.wait_for("document.getAnimations().length === 0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("model", model_kinds.KINDS)
def test_every_text_stands_out_enough(
    page: Page, of_model: OfModel, tmp_path: Path, model: str, scheme: str
) -> None:
    """WCAG 2.1, AA: 4.5 to 1, or 3 to 1 for large letters."""
    features = {"prefers_color_scheme": scheme, "prefers_reduced_motion": "reduce"}
    page.looks(1200, 800, **features)
    visit = Visit(page, of_model(model))
    ask_each(page, visit, model, tmp_path)
    assert page.evaluate(_CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) > 128) == (scheme == "light")


def test_every_error_stands_out_enough(page: Page, of_model: OfModel) -> None:
    for scheme in ("light", "dark"):
        page.looks(1200, 800, prefers_color_scheme=scheme)
        houses = Visit(page, of_model("houses"))
        houses.fill("area", "")
        houses.click("#ask")
        assert houses.error
        assert page.evaluate(_CONTRAST) == []


@pytest.mark.parametrize("model", model_kinds.KINDS)
def test_whatever_takes_the_focus_has_a_name(
    page: Page, of_model: OfModel, tmp_path: Path, model: str
) -> None:
    page.looks(1200, 800)
    visit = Visit(page, of_model(model))
    ask_each(page, visit, model, tmp_path)
    page.send("Accessibility.enable")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    page.send("Accessibility.disable")

    def said(node: dict[str, Any], key: str) -> str:
        return str(node.get(key, {}).get("value", ""))

    def takes_focus(node: dict[str, Any]) -> bool:
        properties = {each["name"]: each["value"].get("value") for each in node["properties"]}
        return bool(properties.get("focusable"))

    named = {
        (said(node, "role"), said(node, "name"))
        for node in nodes
        if not node.get("ignored") and "properties" in node and takes_focus(node)
    }
    nameless = {role for role, name in named if not name.strip()}
    # A block of code that scrolls is read itself; so is a summary.
    assert nameless <= {"Pre", "pre", "generic", "DisclosureTriangle"}, named
    roles = [said(node, "role") for node in nodes]
    assert roles.count("heading") >= 3
    assert "main" in roles


@pytest.mark.parametrize("model", model_kinds.KINDS)
def test_a_phone_scrolls_downwards_only(
    page: Page, of_model: OfModel, tmp_path: Path, model: str
) -> None:
    page.looks(390, 844, touch=True, prefers_reduced_motion="reduce")
    visit = Visit(page, of_model(model))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    ask_each(page, visit, model, tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    small = page.evaluate(
        "[...document.querySelectorAll('button, .button, input:not(.hidden), select')]"
        ".filter((each) => each.getClientRects().length)"
        ".filter((each) => each.getBoundingClientRect().height < 24)"
        ".map((each) => each.outerHTML)"
    )
    assert small == [], "WCAG 2.2: at least 24 pixels for a finger"


@pytest.mark.parametrize("model", ["digits", "houses", "colours"])
def test_the_answer_is_in_view_on_a_phone(
    page: Page, of_model: OfModel, tmp_path: Path, model: str
) -> None:
    page.looks(390, 844, touch=True, prefers_reduced_motion="reduce")
    visit = Visit(page, of_model(model))
    if model == "houses":
        visit.ask()
    else:
        band_picture(3).save(tmp_path / "three.png")
        visit.give(tmp_path / "three.png")
    top, bottom = page.evaluate(
        "(() => { const box = document.getElementById('best').getBoundingClientRect();"
        " return [box.top, box.bottom]; })()"
    )
    assert 0 <= top < bottom <= 844


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1200, 800), (390, 844)], ids=["desktop", "phone"])
def test_what_is_drawn_and_answered_is_painted(
    page: Page, of_model: OfModel, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    # Without motion the bars are as long as they get at once.
    features = {"prefers_color_scheme": scheme, "prefers_reduced_motion": "reduce"}
    page.looks(width, height, touch=width < 600, **features)
    Visit(page, of_model("digits"))
    page.drag(on_canvas(page, BAND))
    page.wait_for("document.querySelector('.bars .best .fill')?.style.width")
    page.wait_for("document.querySelector('.sent').complete")
    page.screenshot(tmp_path / "page.png", window=True)
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("L"))

    def of(selector: str) -> np.ndarray:
        """Return an element's part of the picture."""
        box = f"document.querySelector('{selector}').getBoundingClientRect()"
        left, top, right, bottom = page.evaluate(
            f"(() => {{ const box = {box}; return [box.left, box.top, box.right, box.bottom]; }})()"
        )
        return picture[round(top) : round(bottom), round(left) : round(right)]

    assert (picture[0, 0] > 200) == (scheme == "light")
    assert 0.02 < (of("#canvas") > 200).mean() < 0.3, "white strokes on black"
    assert 0.02 < (of(".sent") > 128).mean() < 0.5, "what was sent"
    assert of("#best").std() > 20, "the answer is painted"
    assert of(".bars .best .fill").shape[1] > 10, "a bar that can be seen"
