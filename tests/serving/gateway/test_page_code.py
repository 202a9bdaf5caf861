"""The code that the page offers to copy: run as it is, it gives the answer that the page has."""

from __future__ import annotations

import json
import math
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.certificates import issue
from tests.serving.gateway import model_kinds
from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.serving.gateway.conftest import OfModel
from tests.serving.gateway.running import band, running_gateway
from tests.serving.gateway.visit import Visit
from tests.serving_fixtures import ROOT, running_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

TOKEN = "a-token-of-24-characters"
_RECORD = (
    "(() => { const real = fetch; window.answers = [];"
    " window.fetch = async (path, ...rest) => { const response = await real(path, ...rest);"
    " if (/:(predict|classify)$/.test(path)) answers.push(await response.clone().text());"
    " return response; }; })()"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def run_both(visit: Visit, folder: Path, **environment: str) -> tuple[Any, dict[str, Any]]:
    """Return what the command prints, as JSON, and what the program prints, by output."""
    shell = dict(cwd=folder, capture_output=True, text=True, timeout=60)
    known = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    curl = subprocess.run(["bash", "-c", visit.code("curl")], env=known, **shell)
    assert curl.returncode == 0, curl.stderr
    python = subprocess.run([sys.executable, "-c", visit.code("python")], env=known, **shell)
    assert python.returncode == 0, python.stderr
    printed = [line.partition(" ") for line in python.stdout.splitlines()]
    return json.loads(curl.stdout), {
        name: eval(text, {"nan": math.nan, "inf": math.inf}) for name, _, text in printed
    }


def digits(visit: Visit, folder: Path) -> None:
    # What shells and Python would take for something else.
    (folder / 'it\'s a $3 "picture".png').write_bytes(band(3))
    visit.give(folder / 'it\'s a $3 "picture".png')


def colours(visit: Visit, folder: Path) -> None:
    Image.new("RGB", (64, 48), (200, 30, 20)).save(folder / "red.png")
    visit.page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    visit.give(folder / "red.png")
    visit.value(
        "[...document.querySelectorAll('#snippets button')]"
        ".find((each) => each.textContent === 'Save request.json').click()"
    )
    file = folder / "request.json"
    # It has its name before it has its content.
    while not (file.exists() and file.stat().st_size):
        visit.value("new Promise((resolve) => setTimeout(resolve, 50))")


def houses(visit: Visit, _: Path) -> None:
    visit.click("#add-row")
    visit.fill("area", "33.3", row=1)
    visit.ask()


def messages(visit: Visit, _: Path) -> None:
    visit.fill("text", "it's a 'parcel' for $HOME\n\\ \"quoted\" – übergroß 🙂")
    visit.ask()


def odd(visit: Visit, _: Path) -> None:
    visit.choose_signature("odd")
    visit.fill("x", "NaN")
    visit.ask()


def blocks(visit: Visit, _: Path) -> None:
    visit.choose_signature("blocks")
    visit.ask()


@pytest.mark.parametrize(
    ("model", "ask", "output"),
    [
        ("digits", digits, "probabilities"),
        ("colours", colours, "output_0"),
        ("houses", houses, "price"),
        ("messages", messages, "probabilities"),
        ("sundry", odd, "root"),
        ("sundry", blocks, "doubled"),
    ],
)
def test_command_and_program_get_the_answer_of_the_page(
    browser: Page,
    of_model: OfModel,
    tmp_path: Path,
    model: str,
    ask: Callable[[Visit, Path], None],
    output: str,
) -> None:
    visit = Visit(browser, of_model(model))
    visit.value(_RECORD)
    ask(visit, tmp_path)
    assert visit.error == ""
    answered = visit.value("answers.at(-1)")
    by_curl, by_python = run_both(visit, tmp_path)
    np.testing.assert_equal(by_curl, json.loads(answered))
    outputs = by_curl["outputs"]
    expected = outputs[output] if isinstance(outputs, dict) else outputs
    np.testing.assert_allclose(by_python[output], np.array(expected, float), rtol=1e-6)


def test_a_token_is_a_variable_in_it_and_never_the_token_itself(
    browser: Page, kinds_folder: Path, tmp_path: Path
) -> None:
    authority = issue(tmp_path, "authority", None)
    server = issue(tmp_path, "server", authority, "127.0.0.1")
    (tmp_path / "token").write_text(TOKEN)
    token = f"--token_file={tmp_path / 'token'}"
    flags = [token, f"--model_config_file={model_kinds.config(kinds_folder)}"]
    context = ssl.create_default_context(cafile=str(authority.pem.certificate))
    tls = [f"--tls_cert={server.pem.certificate}", f"--tls_key={server.pem.key}"]
    with (
        running_server(kinds_folder / "houses", "houses", flags) as running,
        running_gateway(
            running.rest_url, tmp_path, token, *tls, model="houses", context=context
        ) as gateway,
    ):
        browser.send("Security.setIgnoreCertificateErrors", ignore=True)
        browser.open(f"https://127.0.0.1:{gateway.port}/")
        browser.wait_for("!document.getElementById('locked').hidden")
        browser.evaluate(
            f"document.getElementById('token').value = '{TOKEN}';"
            "document.querySelector('#locked button').click()"
        )
        browser.wait_for("document.getElementById('ask')")
        visit = Visit.__new__(Visit)
        visit.page = browser
        visit.ask()
        assert TOKEN not in visit.code("curl") + visit.code("python")
        certificate = str(authority.pem.certificate)
        known = {"TOKEN": TOKEN, "CURL_CA_BUNDLE": certificate, "SSL_CERT_FILE": certificate}
        by_curl, by_python = run_both(visit, tmp_path, **known)
        assert by_python["price"] == pytest.approx(np.array(by_curl["outputs"]))
        refused = subprocess.run(["bash", "-c", visit.code("curl")], capture_output=True, text=True)
        assert "Set TOKEN to the token of this model." in refused.stderr
