"""All pages: how wide they are, that their links lead somewhere, that none is left out."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 120


def pages() -> list[Path]:
    """Every page that is tracked, or will be."""
    words = ("ls-files", "--cached", "--others", "--exclude-standard", "*.md")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / file for file in listed.splitlines() if (ROOT / file).exists()]


PAGES = pages()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """What `#…` may name in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def test_there_are_pages():
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md"} <= {page.name for page in PAGES}
    assert len(PAGES) >= 13


@each_page
def test_no_line_is_wider_than_a_reader_wants(page: Path):
    wide = {
        number: len(line)
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > COLUMNS
    }
    assert not wide, f"{page.name}: columns of each line that is too wide: {wide}"


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_has_every_page_of_the_folder():
    folder = ROOT / "docs"
    index = folder / "README.md"
    linked = {
        (folder / link.partition("#")[0]).resolve()
        for link in re.findall(r"\]\(([^)]+)\)", index.read_text())
    }
    assert {page for page in PAGES if page.parent == folder and page != index} <= linked


@each_page
def test_every_file_that_is_named_exists(page: Path):
    """Of the repository; what a run or a stack writes is named without a folder, or in `<…>`."""
    folders = "|".join(sorted(entry.name for entry in ROOT.iterdir() if entry.is_dir()))
    named = re.findall(rf"(?:`|pytest |python )((?:{folders})/[\w./-]+\.\w+)", page.read_text())
    assert [file for file in named if not (ROOT / file).exists()] == []


def test_contributing_is_read_in_one_sitting():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 80
