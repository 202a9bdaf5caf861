"""The page with texts that were made to run a script in it, or that are of no kind that it knows.

They come from the model (what it says of itself, its names, its answers and refusals), from files
(their names, columns of a CSV) and from the server (its name for the model, metrics).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.gateway import model_kinds
from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.conftest import OfModel
from tests.serving.gateway.model_kinds import markup
from tests.serving.gateway.running import band, running_gateway
from tests.serving.gateway.visit import Visit
from tests.serving_fixtures import ROOT, running_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

_ALIEN = (
    "[...document.querySelectorAll('*')].filter((each) =>"
    " each.localName === 'svg' || (each.localName === 'script' && !each.src.endsWith('/page.js'))"
    " || each.getAttributeNames().some((name) => name.startsWith('on'))"
    " || /javascript:/i.test((each.getAttribute('href') ?? '') + (each.getAttribute('src') ?? ''))"
    ").map((each) => each.outerHTML)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def assert_nothing_ran(page: Page, *allowed: str) -> None:
    """Nothing was taken for HTML: the browser's policy would have stopped scripts, and said so."""
    assert page.evaluate(_ALIEN) == []
    left = [each for each in page.complaints if not any(part in each for part in allowed)]
    assert left == []


def test_what_a_model_says_is_text(browser: Page, of_model: OfModel) -> None:
    page = Visit(browser, of_model("hostile"))
    assert page.value("document.title") == markup("title")
    assert page.text("h1") == markup("title")
    for place in ("input", "description", "constructor"):
        assert markup(place) in page.question
    assert page.value("[...document.querySelectorAll('#question option')].map((o) => o.text)") == [
        markup("choice"),
        "javascript:hacked('choice')",
    ]
    page.ask()
    assert page.error == ""
    assert page.best == markup("first")
    for text in (markup("told"), markup("proto"), markup("example"), "javascript:hacked('second')"):
        assert text in page.answer
    for command in (["bash", "-c", page.code("curl")], [sys.executable, "-c", page.code("python")]):
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert "0.75" in ran.stdout
    assert_nothing_ran(browser)
    page.click("#as-json")
    assert markup("description") in page.question
    assert_nothing_ran(browser)


def test_what_a_model_refuses_and_what_a_table_is_called_is_text(
    browser: Page, of_model: OfModel
) -> None:
    page = Visit(browser, of_model("hostile"))
    page.fill("constructor", "refuse")
    page.ask()
    assert markup("refusal") in page.error
    assert_nothing_ran(browser, "400")
    browser.complaints.clear()
    page.click("#question summary")
    page.fill("CSV, from", f'"{markup("column")}",constructor\n1,2\n')
    page.click("#question details button")
    assert "The CSV has no column" in page.text("#question details")
    assert markup("input") in page.text("#question details")
    assert_nothing_ran(browser)


def test_rows_of_markup_from_a_table_are_text(browser: Page, of_model: OfModel) -> None:
    page = Visit(browser, of_model("hostile"))
    quoted = model_kinds.HOSTILE_INPUT.replace('"', '""')
    cell = markup("cell").replace('"', '""')
    page.click("#question summary")
    page.fill("CSV, from", f'"{quoted}",constructor\n"{cell}",{cell[:9]}\n"{cell}",b\n')
    page.click("#question details button")
    assert "2 rows taken." in page.text("#question details")
    page.ask()
    assert markup("cell") in page.answer
    assert_nothing_ran(browser)


def test_names_of_files_are_text_and_no_commands(
    browser: Page, of_model: OfModel, tmp_path: Path
) -> None:
    names = (
        "<img src=x onerror=hacked('file')>.png",
        "'; touch hacked; '.png",
        "$(touch hacked)`touch hacked`.png",
        '"); open("hacked", "w"); ("\n.png',
        "-o hacked.png",
    )
    for name in names:
        (tmp_path / name).write_bytes(band(3))
    (tmp_path / "<b>broken.png").write_text("<svg onload=hacked('content')>")
    page = Visit(browser, of_model("digits"))
    page.give(*(tmp_path / name for name in names), tmp_path / "<b>broken.png")
    for number in range(len(names)):
        page.click(f"#more li:nth-child({number + 1}) button")
        for program in ("bash", "python3"):
            code = page.code({"bash": "curl", "python3": "python"}[program])
            subprocess.run([program, "-c", code], cwd=tmp_path, capture_output=True, timeout=60)
        assert not list(tmp_path.glob("hacked")), names[number]
    page.click(f"#more li:nth-child({len(names) + 1}) button")
    assert page.error.startswith("<b>broken.png: The model can’t use this")
    assert_nothing_ran(browser, "400")
    browser.complaints.clear()


def test_what_is_of_another_kind_than_agreed_counts_as_not_said(
    browser: Page, of_model: OfModel, tmp_path: Path
) -> None:
    """A list of names that was a text gave letters for classes; an object was '[object Object]'."""
    page = Visit(browser, of_model("nonsense"))
    everything = "document.body.innerText"
    assert page.text("h1") == "Ask nonsense"
    for signature in ("serving_default", "files", "pictures"):
        page.choose_signature(signature)
        assert "object Object" not in page.value(everything)
        assert page.value("document.getElementById('canvas')") is None, "not said to be drawn"
    assert "A guess: the model doesn’t say" in page.question
    (tmp_path / "three.png").write_bytes(band(3))
    page.give(tmp_path / "three.png")
    assert page.error == ""
    page.choose_signature("serving_default")
    page.fill("x", "0.75")
    page.ask()
    assert page.best == "0"
    assert "object Object" not in page.value(everything)
    assert "undefined" not in page.value(everything)
    assert browser.complaints == []


def test_the_name_of_a_model_and_its_metrics_are_text(
    browser: Page, kinds_folder: Path, tmp_path: Path
) -> None:
    name = "<img src=x onerror=hacked('name')>\"'&"
    (tmp_path / str(model_kinds.VERSION)).mkdir()
    manifest = {
        "metrics": {f"accuracy {markup('metric')}": 0.5, markup("other"): 0.25},
        "parameters": {markup("parameter"): markup("value")},
        "run_hash": "<b>1</b>",
        "created": markup("created"),
    }
    path = tmp_path / str(model_kinds.VERSION) / "manifest.json"
    path.write_text(json.dumps(manifest))
    with (
        running_server(kinds_folder / "houses", name) as server,
        running_gateway(server.rest_url, tmp_path, model=name) as gateway,
    ):
        page = Visit(browser, gateway)
        assert name in page.text("header")
        for text in ("metric", "other"):
            assert markup(text) in page.text("header"), "both are taken for an error"
        for text in (markup("parameter"), markup("value"), "<b>1</b>"):
            assert text in page.text("footer")
        assert "trained" not in page.text("footer")
        page.ask()
        assert page.best.endswith("k€")
        assert_nothing_ran(browser)
