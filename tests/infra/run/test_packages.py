"""The packages that pods run: which files, in what archive. tests/test_archives.py runs them."""

import io
import os
import random
import zipfile
from pathlib import Path

import pulumi
import pytest

from infra.run import packages


@pytest.fixture(autouse=True)
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "REPOSITORY", tmp_path)
    folder = tmp_path / "serving"
    (folder / "web").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "web" / "index.html").write_text("<p>drücken</p>")
    (folder / "web" / "icon.png").write_bytes(b"\x89PNG")
    return folder


def test_all_files_are_in_the_archive() -> None:
    files = packages.read("serving")
    assert list(files) == ["__init__.py", "web/icon.png", "web/index.html"]
    with zipfile.ZipFile(io.BytesIO(packages.archive("serving", files))) as archive:
        assert archive.namelist() == [f"serving/{path}" for path in files]
        assert archive.read("serving/web/icon.png") == b"\x89PNG"
        assert archive.read("serving/web/index.html").decode() == "<p>drücken</p>"


def test_examples_of_code_folders_and_what_gets_their_data_are_left_out(tmp_path: Path) -> None:
    """The run hash would change with an example that the run is not of."""
    for file in (
        "__init__.py",
        "mnist/train.py",
        "datasets/get.py",
        "steps/it.py",
    ):
        (tmp_path / "training" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "training" / file).write_text("")
    assert list(packages.read("training")) == ["__init__.py", "steps/it.py"]


def test_what_editors_and_file_managers_leave_is_not_of_a_package(serving: Path) -> None:
    """The run hash would change with it."""
    before = packages.read("serving")
    (serving / ".DS_Store").write_bytes(b"\0")
    (serving / ".mypy_cache").mkdir()
    (serving / ".mypy_cache" / "cache.json").write_text("{}")
    (serving / "requirements.txt").write_text("numpy")
    (serving / "server.py.orig").write_text("what a merge leaves")
    # The lock that Emacs holds on a file under edit, a link to nowhere.
    (serving / ".#__init__.py").symlink_to("me@here.1")
    assert packages.read("serving") == before


def test_the_same_files_make_the_same_archive(serving: Path) -> None:
    files = packages.read("serving")
    before = packages.archive("serving", files)
    os.utime(serving / "__init__.py", (0, 0))
    (serving / "__init__.py").chmod(0o600)
    assert packages.archive("serving", dict(reversed(files.items()))) == before


def test_a_file_that_changed_since_is_not_shipped(serving: Path) -> None:
    """The preview showed another one, and the run hash is of another one."""
    files = packages.read("serving")
    (serving / "__init__.py").write_text("print('later')")
    with pytest.raises(pulumi.RunError, match="__init__.py' was changed while Pulumi ran"):
        packages.archive("serving", files)
    (serving / "__init__.py").unlink()
    with pytest.raises(pulumi.RunError, match="__init__.py' can't be read: No such file"):
        packages.archive("serving", files)


def test_a_package_too_big_for_a_config_map_is_told(serving: Path) -> None:
    (serving / "code.py").write_text("x = 1\n" * 500_000)
    packages.read("serving")
    (serving / "photo.png").write_bytes(random.Random(1).randbytes(720_000))
    with pytest.raises(pulumi.RunError, match="/serving' has 72.,... bytes, but .* 716,800"):
        packages.read("serving")
