"""The stack's configuration by `make up`. Deploying is for tests/cluster/."""

import json
from pathlib import Path

import pytest
import yaml

from local.stack import stack
from local.stack.stack import Stack

ROOT = Path(stack.__file__).resolve().parents[2]


@pytest.fixture
def pulumi(monkeypatch):
    """A CLI that answers with the configuration `known`, and records what is set."""

    class Cli:
        known: dict[str, str] = {}
        set: list[str] = []

        def read(self, _stack: Stack, *words: str) -> str:
            if words[:2] == ("config", "set-all"):
                self.set = list(words[2:])
            return json.dumps({key: {"value": value} for key, value in self.known.items()})

    cli = Cli()
    monkeypatch.setattr(Stack, "_read", lambda *arguments: cli.read(*arguments))
    return cli


def test_an_empty_value_is_one_that_is_not_set(pulumi):
    """What Pulumi.yaml declares is in `pulumi config --json`, set or not."""
    pulumi.known = {"dlstack:host": "", "dlstack:codeDir": stack.EXAMPLE, "dlstack:timeout": "2h"}
    found = Stack({"PULUMI_STACK": "local"}).configure(
        {"runtimeImage": "image:1"}, {"host": "127.0.0.1", "timeout": "1h"}
    )
    assert pulumi.set == [
        *("--plaintext", "dlstack:host=127.0.0.1"),
        *("--plaintext", "dlstack:runtimeImage=image:1"),
    ]
    assert found == {
        "host": "127.0.0.1",
        "codeDir": stack.EXAMPLE,
        "timeout": "2h",
        "runtimeImage": "image:1",
    }


def test_what_is_set_already_is_not_set_again(pulumi):
    pulumi.known = {"dlstack:host": "10.0.0.9", "dlstack:runtimeImage": "image:1"}
    Stack({"PULUMI_STACK": "local"}).configure({"runtimeImage": "image:1"}, {"host": "127.0.0.1"})
    assert pulumi.set == []


def test_the_example_is_the_default_of_the_code_folder():
    config = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert config["dlstack:codeDir"]["default"] == stack.EXAMPLE
