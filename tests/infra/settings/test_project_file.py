"""Pulumi.yaml: what it declares of the keys is what the program makes of them.

What Pulumi itself makes of the declarations shows at every `pulumi up` of tests/cluster/.
"""

import json
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from infra.settings import configuration, run_inputs
from tests.infra.conftest import Configure

ROOT = Path(__file__).resolve().parents[3]
PROJECT = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
CONFIG: dict[str, dict[str, Any]] = PROJECT["config"]


def text(default: Any) -> str:
    """A default as Pulumi passes it to the program."""
    return default if isinstance(default, str) else json.dumps(default)


def test_every_key_is_declared_and_described():
    assert sorted(CONFIG) == sorted(configuration.KEYS)
    assert all(declared["description"] for declared in CONFIG.values())


def test_no_key_lacks_a_default():
    """Pulumi would refuse every stack that doesn't set it."""
    assert all("default" in declared for declared in CONFIG.values())


def test_the_defaults_are_those_of_the_program(configure: Configure):
    required = {
        "dataDir": "data",
        "runtimeImage": "registry.example/dlstack:1",
        "codeDir": "training/mnist",
        "bootFile": "train_mnist.py",
    }
    configure(**required)
    wanted = configuration.load()
    configure(**{key: text(declared["default"]) for key, declared in CONFIG.items()} | required)
    assert configuration.load() == wanted
    for key in ("codeDir", "bootFile"):
        assert CONFIG[key]["default"] == required[key]
    assert required["codeDir"] == run_inputs.CODE_DIR
    assert required["bootFile"] == run_inputs.BOOT_FILE


def kind(configure: Configure, key: str) -> str:
    """What the program takes a key's value for, by what it says of a bad one."""
    configure(**{key: "?"})
    try:
        configuration.load()
    except pulumi.RunError as refusal:
        for found, words in (
            ("boolean", r"'true' nor 'false'"),
            ("integer", r"whole number"),
            ("object", r"object of names and values"),
        ):
            if re.search(rf"dlstack:{key} '\?' .*{words}", str(refusal)):
                return found
    return "string"


@pytest.mark.parametrize("key", configuration.KEYS)
def test_the_types_are_those_of_the_program(configure: Configure, key: str):
    """A type that Pulumi checks may refuse nothing that the program takes, so some have none."""
    declared, found = CONFIG[key], kind(configure, key)
    if found == "object":
        # It may also be set as JSON text, which Pulumi takes for a string.
        assert "type" not in declared and declared["default"] == {}
        assert declared["description"].startswith("Object: ")
    elif found == "integer" and declared["default"] == "":
        assert "type" not in declared
        assert declared["description"].startswith("Whole number: ")
    elif declared.get("secret"):
        # Pulumi refuses a default of a secret that has a type, as it isn't encrypted.
        assert "type" not in declared and declared["default"] == ""
    else:
        assert declared["type"] == found


def test_secrets_are_marked():
    marked = {key for key, declared in CONFIG.items() if declared.get("secret")}
    assert marked == {"s3AccessKey", "s3SecretKey", "tlsKey", "token"}


def test_a_new_project_is_asked_for_what_a_stack_needs(configure: Configure):
    """With the answers that `pulumi new` proposes. It may bear any name."""
    asked = {
        key.removeprefix("dlstack:"): question
        for key, question in PROJECT["template"]["config"].items()
    }
    assert all(question["description"] for question in asked.values())
    configure(**{key: question["default"] for key, question in asked.items()} | {"dataDir": "data"})
    (Path.cwd() / asked["codeDir"]["default"]).mkdir(parents=True, exist_ok=True)
    (Path.cwd() / asked["codeDir"]["default"] / asked["bootFile"]["default"]).touch()
    settings = configuration.load()
    assert settings.runtime_image == asked["runtimeImage"]["default"]
    assert {key for key, one in asked.items() if one["default"] != CONFIG[key]["default"]} == {
        "dataDir",
        "runtimeImage",
    }
