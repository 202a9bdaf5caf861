"""The page when something is slow, too much, wrong or gone: said in words, and over by itself."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests import refusals
from tests.ports import held_ports
from tests.serving.conftest import slow_request
from tests.serving.gateway import model_kinds
from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.conftest import OfModel
from tests.serving.gateway.running import band, encoded, running_gateway
from tests.serving.gateway.visit import Visit
from tests.serving_fixtures import ModelServer, running_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

BAD_CHIP = "document.querySelector('.chip.bad')?.textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def test_waiting_is_shown_and_can_be_ended(
    browser: Page, of_model: OfModel, kinds_server: ModelServer
) -> None:
    server = ModelServer(
        kinds_server.process,
        "sundry",
        kinds_server.base_path,
        kinds_server.grpc_port,
        kinds_server.rest_port,
        kinds_server.log_path,
    )
    steps = slow_request(server, seconds=5).inputs["steps"].int_val[0]
    sundry = Visit(browser, of_model("sundry"))
    sundry.choose_signature("slow")
    sundry.fill("steps", str(steps))
    sundry.click("#ask")
    browser.wait_for("/[1-9] s/.test(document.getElementById('waiting').innerText)")
    assert browser.evaluate("document.getElementById('answer').getAttribute('aria-busy')") == "true"
    sundry.click("#cancel")
    browser.wait_for("document.getElementById('waiting').hidden")
    assert sundry.error == "Cancelled."
    server.channel.close()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, '{"error": "bad\\nthe rest"}', "The model can’t use this: bad"),
        (404, '{"error": "gone"}', "doesn’t have this model or version any more: gone"),
        (413, '{"error": "large"}', "This is more than the server takes at once: large"),
        (429, '{"error": "full"}', "The server has its hands full. Try again in a moment: full"),
        (500, '{"error": "oh"}', "The server failed at this; its log says why: oh"),
        (502, "<html>nginx</html>", "The model server refuses this: <html>nginx</html>"),
        (503, '{"error": "x"}', "The model is not there: it may be starting or changing: x"),
        (504, '{"error": "late"}', "longer than the server allows. Send less at once: late"),
        (418, '{"error": "tea"}', "The server answered with HTTP status 418: tea"),
    ],
)
def test_errors_are_said_in_words(
    browser: Page, of_model: OfModel, status: int, body: str, words: str
) -> None:
    houses = Visit(browser, of_model("houses"))
    browser.evaluate(
        "(() => { const real = fetch; let tries = 0;"
        " window.fetch = (path, ...rest) => path.endsWith(':predict')"
        f"  ? Promise.resolve(new Response({json.dumps(body)},"
        f"     {{ status: {status}, headers: {{ 'Retry-After': '0' }} }}))"
        "  : real(path, ...rest); })()"
    )
    houses.ask()
    assert words in houses.error
    assert houses.best == ""
    if "rest" in body:
        assert houses.value("document.querySelector('#error details pre').textContent") == (
            "bad\nthe rest"
        )


def test_what_a_server_refuses_is_told_as_by_the_form(browser: Page, of_model: OfModel) -> None:
    Visit(browser, of_model("houses"))
    cases = [*refusals.OF_MODELS, *refusals.OF_SERVERS]
    texts = json.dumps([text for text, _ in cases])
    said = browser.evaluate(
        f"import('/web/refusals.js').then(({{ forPeople }}) => {texts}.map((t) => forPeople(t)))"
    )
    assert said == [words for _, words in cases]


def test_a_damaged_picture_is_said_to_be(browser: Page, of_model: OfModel, tmp_path: Path) -> None:
    """It was 'Invalid PNG data, size 200'."""
    (tmp_path / "three.png").write_bytes(encoded(Image.effect_noise((99, 99), 50))[:200])
    digits = Visit(browser, of_model("digits"))
    digits.give(tmp_path / "three.png")
    assert digits.error.startswith("The model can’t use this: the file is damaged or incomplete")
    digits.click("#error summary")
    assert "Invalid PNG data, size 200" in digits.error
    browser.complaints.clear()


def test_a_server_that_is_full_for_a_moment_is_asked_again(
    browser: Page, of_model: OfModel
) -> None:
    houses = Visit(browser, of_model("houses"))
    browser.evaluate(
        "(() => { const real = fetch; let tries = 0;"
        " window.fetch = (path, ...rest) => path.endsWith(':predict') && ++tries < 3"
        "  ? Promise.resolve(new Response('{}', { status: 429, headers: { 'Retry-After': '0' } }))"
        "  : real(path, ...rest); })()"
    )
    houses.ask()
    assert houses.error == ""
    assert houses.best.endswith("k€")


def test_too_large_a_picture_is_said_to_be(
    browser: Page, kinds_server: ModelServer, tmp_path: Path
) -> None:
    limit = "--max_request_bytes=1000"
    with running_gateway(kinds_server.rest_url, tmp_path, limit, model="digits") as gateway:
        (tmp_path / "three.png").write_bytes(band(3) + bytes(2000))
        digits = Visit(browser, gateway)
        digits.give(tmp_path / "three.png")
        assert "This is more than the server takes at once" in digits.error


def test_a_gateway_that_goes_is_seen_at_once_and_when_it_is_back(
    browser: Page, kinds_server: ModelServer, tmp_path: Path
) -> None:
    with held_ports(1) as [port]:
        with running_gateway(kinds_server.rest_url, tmp_path, model="houses", port=port) as gateway:
            houses = Visit(browser, gateway)
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait()
            houses.ask()
            assert houses.error.startswith("The server does not answer.")
            assert browser.evaluate(BAD_CHIP) == "no connection", "before the next look at it"
            gateway.process.returncode = 0
        with running_gateway(kinds_server.rest_url, tmp_path, model="houses", port=port):
            browser.wait_for("document.querySelector('.chip.good')")
            houses.ask()
            assert houses.best.endswith("k€")
    browser.complaints.clear()


def test_a_model_server_that_goes_and_one_that_was_never_there_are_told(
    browser: Page, kinds_folder: Path, tmp_path: Path
) -> None:
    flags = [f"--model_config_file={model_kinds.config(kinds_folder)}"]
    with (
        running_server(kinds_folder / "houses", "houses", flags) as server,
        running_gateway(server.rest_url, tmp_path, model="houses") as gateway,
    ):
        houses = Visit(browser, gateway)
        server.process.kill()
        server.process.wait()
        houses.ask()
        assert "The model is not there: it may be starting or changing" in houses.error
        browser.wait_for(f"{BAD_CHIP} === 'model server not reachable'")
    with held_ports(1) as [silent]:
        nowhere = f"http://127.0.0.1:{silent}"
        with running_gateway(nowhere, tmp_path, model="houses") as gateway:
            browser.open(f"http://127.0.0.1:{gateway.port}/")
            browser.wait_for(f"{BAD_CHIP} === 'model server not reachable'")
            shown = browser.evaluate("document.body.innerText")
            assert f"The model server at {nowhere} does not answer." in shown
            assert "Waiting for the model …" in shown
    browser.complaints.clear()
