"""What the README says of keys, targets and files, held against the code."""

import re
from pathlib import Path

from infra.settings import flavours, settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_table_has_just_the_keys_of_the_program():
    table = README.partition("## Configuration")[2].partition("Flavours:")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(settings.KEYS)


def test_every_key_set_in_an_example_exists():
    assert {key.partition(".")[0] for key in re.findall(r"dlstack:([\w.]+)", README)} <= {
        *settings.KEYS,
        "KEY",
    }


def test_every_flavour_is_named():
    line = README.partition("Flavours:")[2].partition("\n\n")[0]
    assert re.findall(r"`([\w-]+)`", line) == list(flavours.TABLE)


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for command in re.findall(r"(?:^|`|\s)make ((?:[a-z-]+ ?)+)", README):
        first = command.split()[0]
        assert first in targets or first in {"a", "builds", "makes"}, command


def test_every_linked_file_exists():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_folder_of_code_is_in_the_table_of_folders():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    table = README.partition("## Folders")[2].partition("## Development")[0]
    assert folders <= set(re.findall(r"^\| `(\w+)/`", table, re.MULTILINE))
