"""A code folder with a `training` or a `store` of its own."""

from pathlib import Path

import pulumi
import pytest

from infra.run import checksums, own_modules

LIBRARY = {"training": ["export.py", "steps/loop.py", "__init__.py"], "store": ["client.py"]}


def shadowed(folder: Path, **files: str) -> set[str]:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path = path.with_name("__init__.py") if path.name == "init.py" else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code = checksums.code(folder, "code")
    return own_modules.shadowed(folder, code, "train.py", LIBRARY)


OWN = {"training__helpers": ""}
REGULAR = {**OWN, "training__init": ""}


@pytest.mark.parametrize("own", [OWN, REGULAR])
def test_its_own_is_taken_where_that_is_all_that_it_imports(
    tmp_path: Path, own: dict[str, str]
) -> None:
    assert shadowed(tmp_path, train="from training import helpers", **own) == {"training"}


def test_ours_is_taken_where_the_folder_is_no_package_that_it_imports(tmp_path: Path) -> None:
    assert shadowed(tmp_path, train="import training.export", training__run="x = 1") == set()


def test_without_such_a_folder_nothing_is(tmp_path: Path) -> None:
    assert shadowed(tmp_path, train="import training.export, store.client") == set()


@pytest.mark.parametrize(
    ("train", "own", "message"),
    [
        ("import training.export\nimport training.helpers", OWN, r"own in 'training/', and 'train"),
        ("from training.export import export_model", REGULAR, r"'training/__init__.py', and 'tra"),
        ("from training.steps import loop", {"training": ""}, r"own in 'training.py', and 'train"),
        ("import training.export\nimport store.db", {"store__db": ""}, r"needs dlstack's 'store'"),
    ],
)
def test_a_clash_is_refused_and_both_are_named(
    tmp_path: Path, train: str, own: dict[str, str], message: str
) -> None:
    with pytest.raises(pulumi.RunError, match=message):
        shadowed(tmp_path, train=train, **own)
