"""The film of the README: what a terminal shows, how long, and that the SVG is whole.

`make film` records; here nothing is run and no browser is asked.
"""

import re
import sys
from xml.etree import ElementTree

import pytest

from tools.film import svg, timeline
from tools.film.page import Look, Picture
from tools.film.recording import Recording
from tools.film.screen import Screen, Style

SVG = "{http://www.w3.org/2000/svg}"


def shown(*written: str, columns: int = 12, rows: int = 3) -> list[str]:
    """The rows of a screen after what was written."""
    screen = Screen(columns, rows)
    for text in written:
        screen.write(text)
    lines = []
    for line in screen.lines():
        text = ""
        for run in line:
            text = text.ljust(run.column) + run.text
        lines.append(text)
    return lines


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("one\r\ntwo\r\n", ["one", "two", ""]),
        ("1\r\n2\r\n3\r\n4", ["2", "3", "4"]),
        ("a long line that wraps", ["a long line ", "that wraps", ""]),
        ("wait 1\rwait 22", ["wait 22", "", ""]),
        ("one\r\ntwo\x1b[A\r\x1b[KONE", ["ONE", "two", ""]),
        ("one\r\ntwo\x1b[2J\x1b[Hnew", ["new", "", ""]),
        ("one\r\ntwo\x1b[1A\x1b[J", ["one", "", ""]),
        ("\x1b[?25l\x1b]0;title\x07\x1b(Btext", ["text", "", ""]),
    ],
)
def test_a_screen_shows_what_a_terminal_does(written, lines):
    assert [line.rstrip() for line in shown(written)] == [line.rstrip() for line in lines]
    assert shown(*written) == shown(written), "byte by byte it is the same"


def test_colours_and_weights_are_kept():
    screen = Screen(20, 1)
    screen.write("\x1b[1;32mgood\x1b[0m \x1b[38;5;9mbad\x1b[39m")
    (line,) = screen.lines()
    assert [(run.text, run.style) for run in line] == [
        ("good", Style(colour=2, bold=True)),
        ("bad", Style(colour=9)),
    ]


def test_a_command_is_recorded_and_read_again(tmp_path):
    code = "import os, sys; print('ä', sys.stdout.isatty(), os.get_terminal_size().columns)"
    recording = Recording.of([sys.executable, "-c", code], 100, 30, {})
    assert "".join(text for _, text in recording.output) == "ä True 100\r\n"
    recording.write(tmp_path / "file.cast")
    again = Recording.read(tmp_path / "file.cast")
    assert (again.columns, again.rows) == (100, 30)
    assert [text for _, text in again.output] == [text for _, text in recording.output]


def test_a_command_that_fails_makes_no_film():
    with pytest.raises(SystemExit, match="ended with status 3: no film"):
        Recording.of([sys.executable, "-c", "raise SystemExit(3)"], 80, 24, {})


def recording() -> Recording:
    return Recording(40, 5, [(0.5, "begun\r\n"), (60.5, "halfway\r\n"), (61.0, "end\r\n")], 61.2)


def test_long_waits_are_cut_and_short_ones_are_not():
    found = [one for one in timeline.moments(recording(), "make up", 5.0) if one.clock]
    assert sum(one.seconds for one in found) == pytest.approx(5.0)
    assert found[-1].clock == pytest.approx(61.2)
    last = [one for one in found if any("end" in run.text for line in one.lines for run in line)]
    assert sum(one.seconds for one in last) == pytest.approx(0.2)


def test_no_picture_is_shown_for_too_short_a_time():
    dots = Recording(400, 5, [(1.0 + number, ".") for number in range(300)], 301.5)
    found = [one for one in timeline.moments(dots, "make up", 18.0) if one.clock]
    assert sum(one.seconds for one in found) == pytest.approx(18.0)
    assert min(one.seconds for one in found[:-1]) > 0.1, "the last one's end is not the run's"
    assert found[-1].lines[1][0].text == "." * 300


def test_what_is_short_enough_is_shown_as_it_was():
    found = [one for one in timeline.moments(recording(), "make up", 100.0) if one.clock]
    assert sum(one.seconds for one in found) == pytest.approx(61.2)


def test_the_film_is_one_whole_picture_without_a_script():
    looks = [Look(1.0, [Picture((0, 0, 9, 9), b"webp")], (1.0, 2.0))] * 2
    text = svg.film(timeline.moments(recording(), "make <up>", 5.0), looks, "127.0.0.1:80")
    document = ElementTree.fromstring(text)
    elements = list(document.iter())
    names = {element.get("id") for element in elements}
    uses = [element.get("href", "") for element in elements if element.tag == f"{SVG}use"]
    assert uses and {use.removeprefix("#") for use in uses} <= names
    assert len([e for e in elements if e.tag == f"{SVG}image"]) == 1, "each picture is there once"
    assert not [e for e in elements if e.tag == f"{SVG}script"]
    moments = re.findall(r"([\d.]+)%\{transform", text)
    assert [float(at) for at in moments] == sorted(map(float, moments))
    assert "make &lt;up&gt;" in text
