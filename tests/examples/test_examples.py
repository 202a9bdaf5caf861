"""Each example's boot file makes a model that page, client and form ask rightly, told nothing.

A child process is trained as a training job would be, but without the agent: that is in
tests/cluster, where the configuration on each page is tried.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import OfExample, Trained
from tests.examples.pages import generate
from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.visit import Visit

# Beside other work a training takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if PROGRAM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        page.looks(1200, 800)
        yield page


def pictures_of(name: str, folder: Path, each: int) -> list[Path]:
    """Return pictures that the model has not seen, some of each class."""
    if name == "transfer":
        return [
            file
            for kind in sorted((folder / "test").iterdir())
            for file in sorted(kind.iterdir())[:each]
        ]
    generate(name, folder, "--seed=7", f"--each={each}")
    return sorted(folder.glob("*/*"))


def name_of(answer: dict[str, Any]) -> str:
    """Return the class that an answer names: alone, or beside its number."""
    return str(answer.get("label") or answer["prediction"])


def share(right: list[bool]) -> float:
    return sum(right) / len(right)


@pytest.mark.parametrize(("name", "least"), [("pictures", 0.85), ("transfer", 0.8)])
def test_a_picture_file_is_answered_with_a_name(
    trained: OfExample, tmp_path: Path, name: str, least: float
) -> None:
    example = trained(name)
    files = pictures_of(name, example.data if name == "transfer" else tmp_path / "new", 5)
    answers = example.predictions("--top=2", *files)
    kinds = [file.parent.name for file in files]
    named = [name_of(answer) for answer in answers]
    assert share([one == kind for one, kind in zip(named, kinds, strict=True)]) >= least
    status, form = example.gateway.post(*(file.read_bytes() for file in files))
    assert status == 200
    best = [one if isinstance(one, str) else one[0] for one in form["labels"]]
    assert best == named, "client and form agree"


@pytest.mark.parametrize("name", ["pictures", "transfer"])
def test_a_picture_on_the_page_is_named(
    trained: OfExample, browser: Page, tmp_path: Path, name: str
) -> None:
    example = trained(name)
    file = pictures_of(name, example.data if name == "transfer" else tmp_path / "new", 1)[0]
    (answer,) = example.predictions(file)
    visit = Visit(browser, example.gateway)
    visit.give(file)
    assert visit.best == name_of(answer)
    assert browser.complaints == []


def test_little_data_is_enough_for_a_network_that_knows_other_pictures(trained: OfExample) -> None:
    metrics = trained("transfer").metrics
    assert metrics["accuracy"] > 0.8
    assert metrics["accuracy"] > metrics["accuracy_from_scratch"] + 0.3
    assert metrics["accuracy_frozen"] > metrics["accuracy_from_scratch"] + 0.3


def asked_table(example: Trained, table: Path, folder: Path) -> list[dict[str, str]]:
    """Return the rows of what the client makes of a table."""
    done = example.client("predict", table, "--to", folder / "answers.csv")
    assert done.returncode == 0, done.stderr
    with (folder / "answers.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_prices_come_for_a_table(trained: OfExample, tmp_path: Path) -> None:
    """An empty cell, which the training leaves out, is said and hurts no other row."""
    generate("tabular", tmp_path, "--seed=7", "--rows=200")
    rows = asked_table(trained("tabular"), tmp_path / "houses.csv", tmp_path)
    assert len(rows) == 200
    whole = [row for row in rows if row["year"]]
    off = [abs(float(row["prediction"]) / float(row["price"]) - 1) for row in whole]
    assert sum(off) / len(off) < 0.08


def test_a_house_is_a_form_on_the_page(trained: OfExample, browser: Page) -> None:
    example = trained("tabular")
    visit = Visit(browser, example.gateway)
    assert "What is a house worth?" in visit.text("header")
    for label, value in (
        *(("area", "120"), ("rooms", "4"), ("year", "1980")),
        *(("district", "hills"), ("heating", "gas"), ("garden", "true")),
    ):
        visit.fill(label, value)
    visit.ask()
    assert visit.error == ""
    expected = 120 * 4100 * (1 - 44 / 500) + 40000 + 4 * 6000
    assert "€" in visit.best
    shown = float(visit.best.split("€")[0].replace(",", "").strip())
    assert shown == pytest.approx(expected, rel=0.1)
    assert browser.complaints == []


def test_texts_get_their_topic(trained: OfExample, browser: Page) -> None:
    example = trained("text")
    held_out = [json.loads(line) for line in (example.data / "test.jsonl").read_text().splitlines()]
    asked = held_out[::50]
    words = [word for row in asked for word in ("--text", row["text"])]
    labels = [name_of(answer) for answer in example.predictions(*words)]
    assert share([label == row["label"] for label, row in zip(labels, asked, strict=True)]) >= 0.8
    visit = Visit(browser, example.gateway)
    visit.fill("text", "My parcel did not arrive")
    visit.ask()
    assert visit.best == "delivery"


def test_code_for_tensorflow_1_serves_tables_and_examples(
    trained: OfExample, browser: Page, tmp_path: Path
) -> None:
    example = trained("tf1")
    rows = asked_table(example, example.data / "test.csv", tmp_path)
    assert share([row["left"] == row["prediction"] for row in rows]) > 0.85
    customer = {"months": 3.0, "complaints": 6.0, "contract": "monthly"}
    status, _, body = example.gateway.call(
        "POST",
        "/v1/models/tf1:classify",
        json.dumps({"signature_name": "classify", "examples": [customer]}).encode(),
        Content_Type="application/json",
    )
    assert status == 200, body
    (classes,) = json.loads(body)["results"]
    assert dict(classes)["yes"] > 0.9
    visit = Visit(browser, example.gateway)
    for label, value in customer.items():
        visit.fill(label, str(value))
    visit.ask()
    assert visit.best == "yes"
