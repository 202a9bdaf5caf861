"""The gateway's page in a browser: what people do on it, and what they see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.serving.gateway.chromium import Page
from tests.serving.gateway.running import Gateway

_READY = "document.querySelector('.chip.good') && document.querySelector('#canvas, #pad, #ask')"
_FIELD = "[...document.querySelectorAll('label')].filter((l) => l.textContent.startsWith({}))[{}]"
_SETTLED = (
    "document.getElementById('answer').getAttribute('aria-busy') === 'false'"
    " && document.getElementById('waiting').hidden"
    " && !document.getElementById('answer').classList.contains('old')"
)


class Visit:
    """The page of one gateway, open in a browser."""

    def __init__(self, page: Page, gateway: Gateway) -> None:
        self.page = page
        page.complaints.clear()
        page.open("about:blank")
        page.open(f"http://127.0.0.1:{gateway.port}/")
        page.wait_for(_READY)

    def choose_signature(self, name: str) -> None:
        self.page.evaluate(
            "(() => { const select = document.getElementById('signature');"
            f" const option = [...select.options].find((each) => each.text === '{name}');"
            " select.value = option.value; select.dispatchEvent(new Event('change')); })()"
        )

    def fill(self, label: str, text: str, row: int = 0) -> None:
        """Type into the field whose label begins with a text, or choose in it."""
        self.page.evaluate(
            f"(() => {{ const label = {_FIELD.format(json.dumps(label), row)};"
            " const field = document.getElementById(label.htmlFor);"
            f" field.value = {json.dumps(text)};"
            " field.dispatchEvent(new Event('input', { bubbles: true }));"
            " field.dispatchEvent(new Event('change', { bubbles: true })); })()"
        )

    def ask(self) -> None:
        self.click("#ask")
        self.page.wait_for(_SETTLED)

    def give(self, *pictures: Path) -> None:
        self.page.give_files("#file", *pictures)
        self.page.wait_for(_SETTLED)

    def click(self, selector: str) -> None:
        self.page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def text(self, selector: str) -> str:
        """Return what is to be read, with single spaces; empty for what is hidden or not there."""
        found = self.page.evaluate(
            f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"
        )
        return " ".join(str(found).split())

    def code(self, language: str) -> str:
        """Return the code that is offered to copy: of `curl` or `python`."""
        found: str = self.page.evaluate(f"document.getElementById('code-{language}').textContent")
        return found

    def value(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    @property
    def best(self) -> str:
        return self.text("#best")

    @property
    def answer(self) -> str:
        return self.text("#answer")

    @property
    def error(self) -> str:
        return self.text("#error")

    @property
    def question(self) -> str:
        return self.text("#question")
