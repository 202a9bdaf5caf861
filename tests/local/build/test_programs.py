"""Keys of what is built: of the same files they are the same, wherever the folder lies.

That the builds succeed is for the tests on a real cluster.
"""

import re
import shutil
from dataclasses import replace

import pytest

from infra.run.run_hash import image_of_training
from local.brought import images as brought
from local.build import images, programs
from local.build.cache import digest
from local.build.images import Images
from local.build.programs import (
    COREDNS,
    FRONTEND,
    KUBERNETES,
    MODULES,
    NODE_PORTS,
    PAUSE,
    REACH,
    Programs,
)
from local.build.pulumi import PULUMI, PULUMI_KUBERNETES, PULUMI_PYTHON
from local.build.toolchain import GO_VERSION
from local.home import REPOSITORY, Home


def test_a_cache_key_changes_with_names_content_and_words(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("x")
    second.write_text("x")
    keys = {digest([first]), digest([second]), digest([first], "word"), digest([first, second])}
    assert len(keys) == 4
    first.write_text("y")
    assert digest([first]) not in keys


FOLDERS = [*MODULES.iterdir(), FRONTEND.folder]


def test_every_module_pins_its_sources():
    for folder in FOLDERS:
        pinned = (folder / "go.mod").read_text()
        assert "require" not in pinned or (folder / "go.sum").exists(), folder


def test_the_oldest_go_that_is_used_compiles_every_module():
    """`go` refuses a module whose go.mod asks for a newer one."""
    for folder in FOLDERS:
        wanted = re.search(r"(?m)^go ([\d.]+)$", (folder / "go.mod").read_text())
        assert tuple(map(int, wanted[1].split("."))) <= GO_VERSION, folder


@pytest.mark.parametrize(
    "program",
    [KUBERNETES, COREDNS, PAUSE, REACH, NODE_PORTS, PULUMI, PULUMI_PYTHON, PULUMI_KUBERNETES],
)
def test_a_program_is_known_by_the_files_of_its_module(program, tmp_path, monkeypatch):
    known = Programs(Home(tmp_path)).path(program)
    moved = tmp_path / "moved"
    shutil.copytree(MODULES / program.module, moved / program.module)
    monkeypatch.setattr(programs, "MODULES", moved)
    assert Programs(Home(tmp_path)).path(program) == known
    with open(moved / program.module / "go.mod", "a") as file:
        file.write("// changed\n")
    assert Programs(Home(tmp_path)).path(program) != known


@pytest.fixture
def moved_frontend(tmp_path, monkeypatch):
    """A copy of the front end's sources, in the place of these."""
    moved = replace(FRONTEND, beside=tmp_path / "serving")
    shutil.copytree(FRONTEND.folder, moved.folder)
    for module in (images, brought):
        monkeypatch.setattr(module, "FRONTEND", moved)
    return moved.folder


def test_the_runtime_image_is_known_by_the_files_it_is_built_from(tmp_path, monkeypatch):
    known = Images(Home(tmp_path)).runtime
    moved = tmp_path / "moved"
    shutil.copytree(images.FOLDER, moved)
    monkeypatch.setattr(images, "FOLDER", moved)
    assert Images(Home(tmp_path)).runtime == known
    with open(moved / "requirements.txt", "a") as file:
        file.write("# changed\n")
    assert Images(Home(tmp_path)).runtime != known


def test_the_images_are_known_by_the_front_end_in_them_and_not_by_its_tests(
    tmp_path, moved_frontend
):
    def names():
        return Images(Home(tmp_path)).runtime, brought.name()

    known = names()
    (moved_frontend / "any_test.go").write_text("package main\n")
    assert names() == known
    with open(moved_frontend / "main.go", "a") as file:
        file.write("// changed\n")
    assert all(new != old for new, old in zip(names(), known, strict=True))
    # What a training uses of them is the same, and it is not run again.
    assert list(map(image_of_training, names())) == list(map(image_of_training, known))
    assert all(image_of_training(one) != one for one in known)


def test_the_recipe_gets_all_that_it_copies():
    """Docker sends it what `.dockerignore` lets through, and nothing else of the repository."""
    sent = re.findall(r"(?m)^!(\S+)$", (REPOSITORY / ".dockerignore").read_text())
    recipe = (images.FOLDER / "Containerfile").read_text()
    assert [path.rstrip("/") for path in re.findall(r"(?m)^COPY ([^-\s]\S*)", recipe)] == sorted(
        sent, reverse=True
    )
