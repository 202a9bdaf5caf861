"""The worked example of docs/client.md, block by block, against a real server; and its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import client
from client import cli
from tests.serving_fixtures import ModelServer

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text(encoding="utf-8")

#: A block of Python, and the block of what it prints if one follows.
_BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", re.DOTALL)


def test_the_example_runs_and_prints_what_it_says(
    mnist: ModelServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = _BLOCK.findall(DOCS)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for code, printed in blocks:
        exec(code.replace("31670", str(mnist.grpc_port)), names)
        assert capsys.readouterr().out == printed, code


def test_the_commands_are_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = set(re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"^python -m client (\w+)", DOCS, re.MULTILINE)) == listed


def test_the_errors_are_those_there_are() -> None:
    kinds = {
        name
        for name in client.__all__
        if isinstance(getattr(client, name), type) and issubclass(getattr(client, name), Exception)
    }
    table = DOCS.partition("| error | means |")[2].partition("\n## ")[0]
    named = set(
        re.findall(r"`(\w+)`", "".join(row.split("|")[0] for row in table.split("\n|")[2:]))
    )
    assert named == kinds - {"PredictionError"}
