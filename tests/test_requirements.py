"""The pinned packages of this machine and of the image: the same where both have one."""

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def read(file: str) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    found = (Requirement(line) for line in lines if line and not line.startswith("-r"))
    return {requirement.name: requirement for requirement in found}


PINNED = ("requirements.txt", "requirements-dev.txt", "local/requirements.txt")
IMAGE = "local/build/image/requirements.txt"
STORE = "store/requirements.txt"
IN_THE_PODS = ("training/requirements.txt", "serving/requirements.txt")
RANGES = (STORE, *IN_THE_PODS, "client/requirements.txt")


def test_the_image_has_the_versions_that_are_tested_here():
    here = read("requirements.txt") | read("requirements-dev.txt")
    for name, requirement in read(IMAGE).items():
        if name in here:
            assert requirement.specifier == here[name].specifier, name


def test_the_containerfile_takes_the_tensorflow_that_is_tested_here():
    pinned = set(
        re.findall(
            r"tensorflow[\w-]*==([\d.]+)", (ROOT / IMAGE).with_name("Containerfile").read_text()
        )
    )
    assert {f"=={version}" for version in pinned} == {
        str(read("requirements.txt")["tensorflow"].specifier)
    }


def test_every_version_is_pinned():
    for file in (*PINNED, IMAGE):
        for requirement in read(file).values():
            assert str(requirement.specifier).startswith("=="), f"{file}: {requirement}"


def test_the_pins_lie_in_the_ranges_of_each_folder():
    pins = read("requirements.txt")
    for file in RANGES:
        for name, requirement in read(file).items():
            if name in pins:
                version = str(pins[name].specifier).removeprefix("==")
                assert requirement.specifier.contains(version), f"{file}: {requirement}"


def test_what_the_store_needs_is_listed_by_each_folder_that_takes_it_along():
    """Each list is enough by itself: an image is built from one of them."""
    for file in IN_THE_PODS:
        assert read(STORE).items() <= read(file).items(), file
