"""The stack configurations in examples/: each is one that the program takes."""

import json
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from infra.settings import configuration

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("Pulumi.*.yaml"))
PAGE = (ROOT / "examples" / "README.md").read_text()
PROJECT = {
    f"dlstack:{key}": declared
    for key, declared in yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"].items()
}
SECRETS = {key for key, declared in PROJECT.items() if declared.get("secret")}


def name(example: Path) -> str:
    return example.name.split(".")[1]


def values(example: Path) -> dict[str, str]:
    """The configuration as Pulumi passes it to the program."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in yaml.safe_load(example.read_text())["config"].items()
    }


def secrets_of(example: Path) -> set[str]:
    """The keys that its first comment says are to be set besides."""
    (line,) = re.findall(r"^# Secrets to set: (.*)\.$", example.read_text(), re.MULTILINE) or [""]
    return set(re.findall(r"dlstack:\w+", line))


@pytest.fixture
def here(project: Path) -> None:
    """The folder of a clone after `make data`."""
    (project / "data" / "mnist").mkdir()
    (project / "data" / "mnist" / "images.gz").write_bytes(b"pictures")


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_the_program_takes_it(engine: Any, here: None, example: Path):
    given = {key: "a-secret-of-24-characters" for key in secrets_of(example)}
    pulumi.runtime.set_all_config({**values(example), **given}, list(given))
    loaded = configuration.load()
    assert loaded.runtime_image == values(example)["dlstack:runtimeImage"]


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_no_secret_is_in_it_and_each_it_needs_is_said(engine: Any, here: None, example: Path):
    assert not SECRETS & values(example).keys()
    needed = secrets_of(example)
    assert needed <= SECRETS
    for missing in needed - {"dlstack:token"}:
        others = {key: "a-secret-of-24-characters" for key in needed - {missing}}
        pulumi.runtime.set_all_config({**values(example), **others}, list(others))
        with pytest.raises(pulumi.RunError, match=f"{missing} is not set"):
            configuration.load()


def test_the_page_has_each_file_and_each_secret():
    for example in EXAMPLES:
        assert f"]({example.name})" in PAGE
    said = set(re.findall(r"pulumi config set --secret (dlstack:\w+)", PAGE))
    assert said == set().union(*map(secrets_of, EXAMPLES))


def test_types_are_those_that_pulumi_wants():
    """Texts and numbers are alike to Pulumi, but not a text where Pulumi.yaml has an object."""
    for example in EXAMPLES:
        for key, value in yaml.safe_load(example.read_text())["config"].items():
            default = PROJECT.get(key, {}).get("default", "")
            assert isinstance(value, dict) == isinstance(default, dict), key
