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
    assert sorted(CONFIG) == list(configuration.KEYS)
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


def test_a_default_of_pulumi_s_hides_none_that_follows_another_key(configure: Configure):
    """Symptom otherwise: workers gave each other up after 10 minutes, whatever startTimeout."""
    defaults = {key: text(declared["default"]) for key, declared in CONFIG.items()}
    given = {"dataDir": "data", "runtimeImage": "registry.example/dlstack:1"}
    code = {"codeDir": "code", "bootFile": "train.py"}
    configure(**defaults | given | code | {"startTimeout": "30m"})
    assert configuration.load().join_seconds == 1800


def test_workers_do_not_give_up_before_the_node_of_another_may_come(configure: Configure):
    values = {"dataDir": "data", "runtimeImage": "registry.example/dlstack:1"}
    configure(**values, startTimeout="30m", joinTimeout="5m")
    with pytest.raises(pulumi.RunError, match=r"joinTimeout '5m' is shorter than .*\(1800 s\)"):
        configuration.load()


def kind(configure: Configure, key: str) -> str:
    """What the program takes a key's value for, by what it says of a bad one."""
    configure(**{key: "?"})
    try:
        configuration.load()
    except pulumi.RunError as refusal:
        for found, words in (
            ("boolean", r"neither 'true' nor 'false'. Use one of them"),
            ("integer", r"whole number"),
            ("object", r"object of names and values"),
            ("list", r"not a list"),
        ):
            if re.search(rf"dlstack:{key} ('\?' )?.*{words}", str(refusal)):
                return found
    return "string"


@pytest.mark.parametrize("key", configuration.KEYS)
def test_what_is_no_text_is_described_as_the_program_takes_it(configure: Configure, key: str):
    """Symptom of a type: of 'maybe' Pulumi said no more than that it is no boolean, and a duration
    without quotes was refused as no string."""
    declared, found = CONFIG[key], kind(configure, key)
    assert "type" not in declared
    beginning = declared["description"].partition(": ")[0]
    assert beginning in BEGINNINGS[found] if found in BEGINNINGS else beginning not in OF_ALL
    if found in ("object", "list"):
        assert declared["default"] == {"object": {}, "list": []}[found]


BEGINNINGS = {
    "boolean": ["True or false"],
    "integer": ["Whole number", "Whole number or object"],
    "object": ["Object"],
    "list": ["List"],
}
OF_ALL = [one for some in BEGINNINGS.values() for one in some]


def test_a_value_without_quotes_is_understood(configure: Configure):
    """As Pulumi passes on what a person writes into the stack's file."""
    configure(timeout="3600", minAccuracy="0.9", deploy="false", servingReplicas="2")
    settings = configuration.load()
    assert (settings.timeout_seconds, settings.min_accuracy) == (3600, 0.9)
    assert (settings.deploys, settings.serving_scale.least) == (False, 2)


def test_secrets_are_marked():
    marked = {key for key, declared in CONFIG.items() if declared.get("secret")}
    assert marked == {"s3AccessKey", "s3SecretKey", "s3SessionToken", "tlsKey", "token"}


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
