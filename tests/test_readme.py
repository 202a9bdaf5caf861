"""What the README says of keys, targets and files, held against the code."""

import json
import re
from pathlib import Path

import yaml

from infra.settings import configuration, flavours

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CONFIGURATION = README.partition("\n## Configuration\n")[2].partition("\n## ")[0]
GROUPS = ("Training", "Serving", "Store", "Access", "The stack itself", "A company's cluster")


def rows() -> list[tuple[list[str], str, str]]:
    """Keys, default and meaning of each row, over the tables of all groups."""
    cells = [line.split("|")[1:4] for line in CONFIGURATION.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`(\w+)`", one), two.strip(" `"), three) for one, two, three in cells]


def test_the_tables_have_just_the_keys_of_the_program():
    """Each once: a key in two groups would soon have two meanings."""
    assert sorted(key for keys, _, _ in rows() for key in keys) == sorted(configuration.KEYS)


def test_every_group_has_its_table():
    titles = re.findall(r"^### (.+)$", CONFIGURATION, re.MULTILINE)
    assert tuple(titles) == GROUPS
    for title in GROUPS:
        group = CONFIGURATION.partition(f"### {title}\n")[2].partition("\n### ")[0]
        assert re.search(
            r"^\| key \| default \| meaning \|\n\|(?:---\|)+\n\| `", group, re.MULTILINE
        )


def test_the_defaults_are_those_of_the_project_file():
    """What the project file leaves open, the table says in words."""
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    for keys, default, _ in rows():
        for key in keys:
            declared = project[key]["default"]
            if declared not in ("", {}, []):
                written = declared if isinstance(declared, str) else json.dumps(declared)
                assert default == written, key


def test_every_key_set_in_an_example_exists():
    assert {key.partition(".")[0] for key in re.findall(r"dlstack:([\w.]+)", README)} <= {
        *configuration.KEYS,
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


def test_every_folder_of_code_is_in_the_table_of_folders():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    table = README.partition("## Folders")[2].partition("## Development")[0]
    assert folders <= set(re.findall(r"^\| `(\w+)/`", table, re.MULTILINE))
