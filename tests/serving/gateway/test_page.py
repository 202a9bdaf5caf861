"""The page in a real browser, with a model of every kind: what it asks for and how it answers.

Its looks, keyboard and screen readers are in test_page_for_everybody, waiting and errors in
test_page_in_trouble, the code to copy in test_page_code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from client import Client
from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.conftest import OfModel
from tests.serving.gateway.running import band_picture
from tests.serving.gateway.visit import Visit
from tests.serving_fixtures import ModelServer
from tests.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

Open = Callable[[str], Visit]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def visit(browser: Page, of_model: OfModel) -> Iterator[Open]:
    """Model's name -> its page, freshly opened; nothing may have gone wrong on it in the end."""
    browser.looks(1200, 800)
    yield lambda model: Visit(browser, of_model(model))
    assert browser.complaints == []


def picture(folder: Path, name: str, colour: tuple[int, ...], mode: str = "RGB") -> Path:
    Image.new(mode, (320, 240), colour).save(folder / name)
    return folder / name


def test_the_model_and_its_figures_are_shown(visit: Open) -> None:
    digits = visit("digits")
    header = digits.text("header")
    for part in ("Which digit is it?", "digits", "version 3", "available", "accuracy 99.10 %"):
        assert part in header
    assert "TensorBoard metadata" in header
    assert "seconds" not in header, "what training took is below"
    footer = digits.text("footer")
    for part in ("steps 1406", "train seconds 22.17", "run abababababab"):
        assert part in footer
    links = digits.value("[...document.querySelectorAll('header a')].map((link) => link.href)")
    assert links[0] == "http://tensorboard.example:6006/"
    assert links[1].endswith("/v1/models/digits/versions/3/metadata")


def test_files_are_answered_each_by_itself(visit: Open, tmp_path: Path) -> None:
    """One that the model refuses took all answers away."""
    band_picture(3).save(tmp_path / "three.png")
    Image.new("L", (60, 60)).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no picture")
    band_picture(8).convert("RGB").save(tmp_path / "eight.jpg", quality=95)
    digits = visit("digits")
    digits.give(*(tmp_path / name for name in ("three.png", "blank.png", "text.png", "eight.jpg")))
    assert digits.best == "3"
    assert digits.error == ""
    entries = digits.value(
        "[...document.querySelectorAll('#more button')].map((each) => each.innerText)"
    )
    shorts = [" ".join(entry.split()) for entry in entries]
    assert [short.split(" (")[0] for short in shorts] == [
        "3",
        "not answered blank.png",
        "not answered text.png",
        "8",
    ]
    digits.click("#more li:nth-child(4) button")
    assert digits.best == "8"
    digits.click("#more li:nth-child(2) button")
    assert digits.best == ""
    assert digits.error.startswith(
        "blank.png: The model can’t use this: The picture is empty. What the server said"
    )
    # The browser itself notes each 400; nothing else may have gone wrong.
    assert all("400" in complaint for complaint in digits.page.complaints)
    digits.page.complaints.clear()


def test_more_files_than_a_form_may_have_are_answered(visit: Open, tmp_path: Path) -> None:
    for number in range(70):
        band_picture(number % 10).save(tmp_path / f"{number}.png")
    digits = visit("digits")
    digits.give(*(tmp_path / f"{number}.png" for number in range(70)))
    shorts = digits.value(
        "[...document.querySelectorAll('#more strong')].map((each) => each.textContent)"
    )
    assert [short[0] for short in shorts] == [str(number % 10) for number in range(70)]


def test_the_range_of_a_picture_is_guessed_aloud_and_can_be_changed(
    visit: Open, tmp_path: Path
) -> None:
    """A model of Keras' tutorials takes 0 to 255: with 0 to 1 its answer is hardly one."""
    colours = visit("colours")
    assert "Drop or paste pictures here" in colours.question
    assert "A guess: the model doesn’t say which values it was trained with." in colours.question
    colours.give(picture(tmp_path, "green.png", (20, 230, 20)))
    guessed = colours.text(".bars li.best .percent")
    colours.fill("Values from black to white", "0,255")
    colours.page.wait_for(f"document.querySelector('.percent').textContent !== '{guessed}'")
    assert colours.best == "1"
    assert colours.text(".bars li.best .percent") == "100.0 %"
    assert "'output_0' adds up to 1, so it is shown as probabilities" in colours.answer


def test_a_model_that_says_what_it_is_is_asked_so(visit: Open, tmp_path: Path) -> None:
    ranged = visit("ranged")
    assert "Black is 0 and white is 255, as the model says." in ranged.question
    assert ranged.value("document.getElementById('range')") is None
    ranged.give(picture(tmp_path, "blue.png", (10, 20, 230)))
    assert ranged.best == "blue"
    assert "adds up" not in ranged.answer, "nothing is guessed"
    transparent = Image.new("RGBA", (320, 240), (0, 0, 0, 0))
    transparent.paste((230, 10, 10, 255), (80, 60, 240, 180))
    transparent.save(tmp_path / "transparent.png")
    ranged.give(tmp_path / "transparent.png")
    assert ranged.best == "red"


@pytest.mark.parametrize("size", [(800, 200), (90, 300)])
def test_page_and_client_give_the_same_answer_for_a_picture(
    visit: Open, kinds_server: ModelServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Both fit it in, fill the rest with the border's colour, and lay what is clear on paper."""
    photo = Image.new("RGBA", size, (0, 0, 0, 0))
    photo.paste((90, 20, 30, 255), (20, 50, 80, 150))
    photo.save(tmp_path / "photo.png")
    ranged = visit("ranged")
    ranged.give(tmp_path / "photo.png")
    shares = ranged.value(
        "Object.fromEntries([...document.querySelectorAll('.bars li')].map((each) =>"
        " [each.querySelector('.name').textContent, parseFloat(each.lastChild.textContent)]))"
    )
    with Client("127.0.0.1", "ranged", port=kinds_server.rest_port, transport="rest") as client:
        [answer] = client.predict_files([tmp_path / "photo.png"], top=3)
    expected = {score.label: 100 * score.probability for score in answer.scores}
    assert shares == pytest.approx(expected, abs=1)


def test_a_model_of_any_size_gets_no_more_pixels_than_json_can_carry(
    visit: Open, tmp_path: Path
) -> None:
    Image.new("RGB", (4000, 1000), "teal").save(tmp_path / "wide.jpg")
    sundry = visit("sundry")
    sundry.choose_signature("sizes")
    assert "in their own size, at most 640 pixels a side" in sundry.question
    sundry.give(tmp_path / "wide.jpg")
    assert "0 160 1 640" in sundry.answer


def test_files_that_are_no_pictures_are_taken_as_they_are(visit: Open, tmp_path: Path) -> None:
    (tmp_path / "tone.wav").write_bytes(bytes(1234))
    sundry = visit("sundry")
    sundry.choose_signature("sound")
    assert "Choose files" in sundry.question
    assert "Take a photo" not in sundry.question
    sundry.give(tmp_path / "tone.wav")
    assert sundry.best == "1234"


def test_fields_of_a_table_become_a_price(visit: Open) -> None:
    houses = visit("houses")
    assert houses.text("h1") == "What is a house worth?"
    assert "area (m²)" in houses.question
    assert "Living area, without the cellar." in houses.question
    assert houses.value("[...document.querySelectorAll('select')].map((s) => s.length)") == [3, 2]
    houses.fill("district", "hill")
    houses.fill("garden", "true")
    houses.ask()
    price = "573.202"  # With the digits of float32, and no more.
    assert houses.best == f"{price} k€"
    houses.click("#add-row")
    houses.fill("area", "10", row=1)
    houses.ask()
    assert houses.best == "2 rows"
    cells = houses.value("[...document.querySelectorAll('td')].map((each) => each.textContent)")
    assert cells[0] == f"{price} k€"
    houses.click("tbody tr:nth-child(2) button")
    assert "Row 2 price" in houses.answer


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        ("area", "", "'area' is empty. Give a number."),
        ("area", "80,5", "'area' is '80,5'. Give a number, with a point for decimals."),
        ("rooms", "2.5", "'rooms' is '2.5'. Give a whole number from -9223372036854775808 to"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(
    visit: Open, label: str, text: str, words: str
) -> None:
    houses = visit("houses")
    houses.fill(label, text)
    houses.click("#ask")
    assert words in houses.error
    labelled = "document.querySelector(`label[for='${document.activeElement.id}']`).textContent"
    assert houses.value(labelled).startswith(label)


def test_rows_come_from_csv_in_any_order_of_columns(visit: Open) -> None:
    houses = visit("houses")
    houses.click("details.csv summary")
    rows = "".join(f"hill;{area};3;true\n" for area in range(1, 301))
    houses.fill("CSV, from", f'"district";area;rooms;garden\n{rows}')
    houses.click("details.csv button")
    assert "300 rows taken." in houses.question
    assert "And 280 rows more, which are sent as well." in houses.question
    houses.ask()
    # More than go in one request.
    assert houses.best == "300 rows"
    assert "Show more of 300 rows" in houses.answer
    houses.fill("CSV, from", "area,rooms\n1,2\n")
    houses.click("details.csv button")
    assert "The CSV has no column 'district', 'garden'." in houses.question


def test_a_text_is_classified_by_name(visit: Open) -> None:
    messages = visit("messages")
    messages.fill("text", 'my "parcel"\nis late')
    messages.fill("text", "where is my parcel?")
    messages.ask()
    assert messages.best == "delivery"
    assert messages.text(".bars li.best") == "delivery 94.0 %"


def test_a_segmentation_is_a_map_with_a_legend(visit: Open, tmp_path: Path) -> None:
    photo = Image.new("RGB", (640, 480), (0, 0, 0))
    photo.paste((0, 255, 0), (320, 0, 640, 480))
    photo.save(tmp_path / "half.png")
    segments = visit("segments")
    segments.give(tmp_path / "half.png")
    assert "64×48, the highest of 5 values at each place" in segments.answer
    assert "class 0, 50.0 %" in segments.answer
    assert "class 2, 50.0 %" in segments.answer
    assert "shown as 0 (black) to 1 (white)" in segments.answer
    segments.page.wait_for("document.querySelector('img.output').naturalWidth === 64")
    colours = segments.value(
        "(() => { const map = document.querySelectorAll('canvas.output')[1].getContext('2d');"
        " return [10, 50].map((x) => [...map.getImageData(x, 20, 1, 1).data]); })()"
    )
    assert colours[0] != colours[1]


@pytest.mark.parametrize(
    ("signature", "fields", "answer"),
    [
        (
            "add",
            {"a 1": "1", "a 2": "2.5", "b 1": "0.1", "b 2": "1e3"},
            "difference value 0 0.9 1 -997.5 sum value 0 1.1 1 1002.5",
        ),
        ("scale", {"factor": "3", "x": "0.1"}, "mean 0.1 scaled 0.3"),
        ("next_number", {"number": "9223372036854775806"}, "next 9223372036854775807"),
        ("odd", {"x": "-1"}, "quotient -Infinity root NaN"),
        ("guess", {"x 1": "0", "x 2": "0", "x 3": "9", "x 4": "0"}, "2 2 100.0 %"),
    ],
)
def test_numbers_of_every_kind_come_back_whole(
    visit: Open, signature: str, fields: dict[str, str], answer: str
) -> None:
    sundry = visit("sundry")
    sundry.choose_signature(signature)
    for label, text in fields.items():
        sundry.fill(label, text)
    sundry.ask()
    assert sundry.error == ""
    assert sundry.answer == answer


def test_a_large_answer_is_shown_in_part_and_saved_whole(visit: Open, tmp_path: Path) -> None:
    sundry = visit("sundry")
    sundry.choose_signature("much")
    sundry.fill("x", "1.5")
    sundry.ask()
    assert sundry.value("document.querySelectorAll('tbody tr').length") == 50
    assert "Show more of 20000 rows" in sundry.answer
    sundry.page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    sundry.click("#saving button")
    saved = tmp_path / "answer.json"

    def is_whole() -> bool:
        # The browser goes on while it is asked for something.
        sundry.page.evaluate("new Promise((resolve) => setTimeout(resolve, 50))")
        return saved.exists() and saved.read_text().count("1.5") == 20_000

    eventually(is_whole)


def test_what_no_form_has_is_asked_by_json_with_a_right_example(visit: Open) -> None:
    sundry = visit("sundry")
    sundry.choose_signature("blocks")
    assert "block float32 [?, 3, 2, 2]" in sundry.question
    sundry.ask()
    assert sundry.error == ""
    assert "doubled" in sundry.answer
    sundry.fill("Body of a REST request", "{")
    sundry.click("#ask")
    assert sundry.error.startswith("This is not JSON:")


def test_the_form_goes_on_as_json(visit: Open) -> None:
    houses = visit("houses")
    houses.fill("area", "33")
    houses.click("#as-json")
    body = houses.value("document.getElementById('json').value")
    assert '"area": [33]' in body
    houses.ask()
    assert houses.best.endswith("k€")


def test_examples_of_classify_are_asked_and_ranked(visit: Open) -> None:
    examples = visit("examples")
    examples.choose_signature("serving_default")
    body = '{"signature_name": "serving_default", "examples": [{"x": 0.25}]}'
    examples.fill("Body of a REST request", body)
    examples.ask()
    assert examples.best == "neg"
    assert examples.text(".bars") == "neg 75.0 % pos 25.0 %"


def test_another_version_is_read_anew(visit: Open) -> None:
    """What a version takes may differ from what the one before took."""
    messages = visit("messages")
    messages.value(
        "(() => { const real = fetch; window.fetch = async (path, options) => {"
        "  if (path !== '/status') return real(path.replace('ons/4', 'ons/3'), options);"
        "  const said = await (await real(path, options)).json();"
        "  return new Response(JSON.stringify({ ...said, model_version: 4 })); }; })()"
    )
    messages.page.wait_for("document.querySelector('header').innerText.includes('version 4')")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_is_read_however_it_was_saved(visit: Open, end: str) -> None:
    """Lines that end by CR alone were one row; a quote that stays open swallowed the rest."""
    houses = visit("houses")
    lines = ["", '"area"; "rooms";district;garden', '1,5;"a ""b"";";c', "", "2|5;2;c;1", ""]
    parsed = "import('/web/csv.js').then(({{ parseCsv }}) => parseCsv({}))"
    rows = houses.value(parsed.format(json.dumps("\ufeff" + end.join(lines))))
    assert rows == [
        ["area", ' "rooms"', "district", "garden"],
        ["1,5", 'a "b";', "c"],
        ["2|5", "2", "c", "1"],
    ]
    houses.click("#question summary")
    for text, said in (
        ('area,rooms,district,garden\n1,2,"x,true\n', "A quote is never closed, behind row 1"),
        ("area,rooms,district,garden,area\n1,2,x,true,3\n", "has column 'area' twice"),
    ):
        houses.fill("CSV, from", text)
        houses.click("#question details button")
        assert said in houses.text("#question details")
