"""Who may import whom (docs/architecture.md), read from the source: nothing is imported here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("store", "infra", "training", "serving", "client", "local")

#: Folders that others may import, and which.
SHARED = {"store": {"infra", "training", "serving"}}

#: Whole frameworks, by the folders (or files of the root) that may import them.
#: `tensorflow_serving` imports `tensorflow`.
OWNERS = {
    "pulumi": {"infra", "__main__.py"},
    "pulumi_kubernetes": {"infra", "__main__.py"},
    "tensorflow": {"training", "serving"},
    "tensorflow_serving": {"training", "serving"},
    "keras": {"training", "serving"},
}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and top-level package of each absolute import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").partition(".")[0]


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def offences(folder: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for line, name in imported(path)
        if name in forbidden
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_import_none_of_each_other_but_what_is_shared(folder: str) -> None:
    others = set(FOLDERS) - {folder}
    may = {shared for shared, users in SHARED.items() if folder in users}
    assert offences(folder, others - may) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_frameworks_are_imported_only_by_their_owners(folder: str) -> None:
    assert offences(folder, {name for name, owners in OWNERS.items() if folder not in owners}) == []


@pytest.mark.parametrize("folder", ["infra", "serving", "client"])
def test_packages_that_may_be_renamed_import_themselves_relatively(folder: str) -> None:
    assert offences(folder, {folder}) == []


def test_an_import_inside_a_function_is_found_too(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("from . import own\n\n\ndef f():\n    import tensorflow.keras as keras\n")
    assert list(imported(path)) == [(5, "tensorflow")]
