"""Batch prediction: `predict --to FILE`, tables and JSON lines, with errors in their place."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client._command import cli
from tests.serving_fixtures import ModelServer

from ..conftest import digit, port_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    mnist: ModelServer,
    transport: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """Run `predict` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    server = ["--host=127.0.0.1", "--model=mnist", f"--transport={transport}"]
    server.append(f"--port={port_of(mnist, transport)}")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["predict", *server, *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with pictures of 1 and 3, and one that is none between them."""
    (tmp_path / "in").mkdir()
    for k in (1, 3):
        pixels = np.uint8(digit(k) * 255).reshape(28, 28)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{k}.png")
    (tmp_path / "in" / "2.png").write_bytes(b"no picture")
    return tmp_path / "in"


def table(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("pictures")
def test_a_folder_becomes_a_table_with_errors_in_their_place(run: Run) -> None:
    Path("labels").write_text("1:one\n")
    status, out, err = run("in", "--to=out.csv", "--labels=labels")
    assert (status, out) == (1, "")
    refused, summary = err.splitlines()
    assert refused.startswith("python -m client: 'in/2.png': 127.0.0.1:")
    assert summary == "3 rows are in 'out.csv', 1 of them errors."
    one, two, three = table("out.csv")
    assert list(one) == ["source", "prediction", "label", "confidence", "error"]
    assert (one["source"], one["prediction"], one["label"]) == ("in/1.png", "1", "one")
    assert 0.99 < float(one["confidence"]) < 1
    assert (two["source"], two["prediction"]) == ("in/2.png", "")
    assert "answered INVALID_ARGUMENT" in two["error"]
    assert (three["prediction"], three["label"], three["error"]) == ("3", "", "")
    assert sorted(os.listdir()) == ["in", "labels", "out.csv"]


@pytest.mark.usefixtures("pictures")
def test_a_folder_becomes_json_lines(run: Run) -> None:
    status, _, _ = run("in", "--to=out.jsonl", "--top=1")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert status == 1
    assert [line["source"] for line in lines] == ["in/1.png", "in/2.png", "in/3.png"]
    assert lines[0]["scores"][0]["class"] == lines[0]["prediction"] == 1
    assert lines[1].keys() == {"source", "error"}


def test_a_table_keeps_its_columns_and_an_error_its_row(run: Run) -> None:
    rows = [[f"p{k}" for k in range(784)], digit(4), digit(5), ["no", *digit(1)[1:]]]
    with open("in.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    status, _, err = run("in.csv", "--to=out.csv")
    assert status == 1
    note, wrong, summary = err.splitlines()
    assert note.startswith("Columns of 'in.csv' go to input 'images' in their order: p0, p1, p2,")
    assert wrong.startswith("python -m client: Line 4 of 'in.csv': column 'p0' is 'no'.")
    assert summary == "3 rows are in 'out.csv', 1 of them errors."
    four, five, bad = table("out.csv")
    assert list(four)[:2] == ["p0", "p1"]
    assert list(four)[-5:] == ["source", "prediction", "label", "confidence", "error"]
    assert (four["source"], four["prediction"], five["prediction"]) == ("in.csv:2", "4", "5")
    assert (bad["p0"], bad["prediction"]) == ("no", "")
    assert bad["error"].endswith("column 'p0' is 'no'. Write a number.")


def test_several_outputs_are_columns_and_names_of_the_tables_stay(
    kinds: ModelServer, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text('label,a,b\nx,"[1,2]","[10,20]"\n')
    server = ["--host=127.0.0.1", "--model=kinds", f"--transport={transport}"]
    server.append(f"--port={port_of(kinds, transport)}")
    assert cli.main(["predict", *server, "in.csv", "--to=out.csv"]) == 0
    assert Path("out.csv").read_text().splitlines() == [
        "label,a,b,source,difference,sum,predicted_label,confidence,error",
        'x,"[1,2]","[10,20]",in.csv:2,"[-9.0, -18.0]","[11.0, 22.0]",,,',
    ]


def test_nothing_but_errors_is_a_table_too(run: Run) -> None:
    status, _, _ = run("missing.png", "--to=out.csv")
    assert status == 1
    (missing,) = table("out.csv")
    assert missing == {
        "source": "missing.png",
        "error": "There is no file 'missing.png'. Check the path.",
    }


def test_until_all_is_answered_the_file_has_not_its_name(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that goes away in between."""
    Path("out.csv").write_text("of yesterday")
    monkeypatch.setattr("client._inputs.batches.ROWS_PER_REQUEST", 1)
    real = cli.Client._answer_steps
    asked: list[None] = []

    def once(self, *arguments):  # type: ignore[no-untyped-def]
        asked.append(None)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return (yield from real(self, *arguments))

    monkeypatch.setattr(cli.Client, "_answer_steps", once)
    status, _, err = run("in", "--to=out.csv")
    assert (status, err) == (130, "1 rows so far are in 'out.csv.part'.\n")
    assert Path("out.csv").read_text() == "of yesterday"
    assert len(table("out.csv.part")) == 1


@pytest.mark.parametrize(
    ("to", "status", "said"),
    [
        ("out.txt", 2, "'out.txt' is no file for answers. Give one that ends in .csv, .jsonl"),
        ("none/out.csv", 1, "Cannot write 'none/out.csv.part' (No such file or directory)."),
    ],
)
@pytest.mark.usefixtures("pictures")
def test_a_file_that_can_not_be_written_is_said_before_anything_is_asked(
    run: Run, to: str, status: int, said: str
) -> None:
    found, out, err = run("in", f"--to={to}")
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert said in err
