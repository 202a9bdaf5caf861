"""The stack's configuration by `make up`. Deploying is for tests/cluster/."""

import json
from pathlib import Path

import pytest
import yaml

from local.commands import ON_THIS_MACHINE
from local.stack import stack
from local.stack.stack import Stack
from tests.local import fake_pulumi

ROOT = Path(stack.__file__).resolve().parents[2]


@pytest.fixture
def pulumi(monkeypatch):
    """A CLI with the configuration `known` and these stacks, which records what it is told."""

    class Cli:
        known: dict[str, str] = {}
        stacks: dict[str, bool] = {"local": True}
        """Name -> whether it is selected in this folder."""

        def __init__(self) -> None:
            self.set: list[str] = []
            self.told: list[tuple[str, ...]] = []

        def read(self, words: tuple[str, ...], leaving_out: str, given: str) -> str:
            if words[:2] == ("config", "set-all"):
                self.set = list(words[2:])
            elif words[:2] in (("config", "set"), ("config", "rm")):
                self.told.append((*words, given))
            elif words[:2] == ("stack", "ls"):
                # With the variable Pulumi would call that stack the current one.
                assert leaving_out == "PULUMI_STACK"
                return json.dumps([{"name": k, "current": v} for k, v in self.stacks.items()])
            elif words[0] == "stack":
                self.told.append(words)
            return json.dumps({key: {"value": value} for key, value in self.known.items()})

    cli = Cli()
    monkeypatch.setattr(
        Stack,
        "_read",
        lambda _, *words, leaving_out="", given="": cli.read(words, leaving_out, given),
    )
    return cli


@pytest.mark.parametrize(
    ("stacks", "told"),
    [
        ({}, [("stack", "init", "local")]),
        ({"other": True}, [("stack", "init", "local", "--no-select")]),
        ({"other": False}, [("stack", "init", "local")]),
        ({"local": False, "other": True}, []),
        ({"local": False, "other": False}, [("stack", "select", "local")]),
        ({"organization/dlstack/local": True}, []),
    ],
)
def test_another_stack_that_a_person_selected_stays_selected(pulumi, stacks, told):
    pulumi.stacks = stacks
    Stack({"PULUMI_STACK": "local"}).configure({}, {})
    assert pulumi.told == told


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


@pytest.mark.parametrize(
    ("value", "sets"),
    [("{}/cache/mnist", False), ("{}/gone/cache/mnist", True), ("s3://a/b", False)],
)
def test_a_data_set_of_a_folder_that_was_removed_is_that_of_the_present_one(
    pulumi, tmp_path, value, sets
):
    (tmp_path / "cache" / "mnist").mkdir(parents=True)
    pulumi.known = {"dlstack:dataDir": value.format(tmp_path)}
    Stack({"PULUMI_STACK": "local"}).configure({}, {"dataDir": "/home/x/.dlstack/cache/mnist"})
    assert bool(pulumi.set) == sets


def test_what_is_set_already_is_not_set_again(pulumi):
    pulumi.known = {"dlstack:host": "10.0.0.9", "dlstack:runtimeImage": "image:1"}
    Stack({"PULUMI_STACK": "local"}).configure({"runtimeImage": "image:1"}, {"host": "127.0.0.1"})
    assert pulumi.set == []


def test_the_example_is_the_default_of_the_code_folder():
    config = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert config["codeDir"]["default"] == stack.EXAMPLE


def test_what_make_up_sets_unless_it_is_set_has_no_default_that_counts_as_set():
    config = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    by_default = ("dataDir", "grpcNodePort", *ON_THIS_MACHINE)
    assert [config[key]["default"] for key in by_default] == [""] * len(by_default)


PROXY = '{"httpsProxy": "http://proxy:3128"}'
WITH_PASSWORD = '{"httpsProxy": "http://ann:hunter2@proxy:3128"}'


@pytest.mark.parametrize(
    ("wanted", "known", "told"),
    [
        # The cluster is brought.
        (None, PROXY, []),
        ("", "{}", []),
        (PROXY, PROXY, []),
        (PROXY, "{}", [("config", "set", "--plaintext", "dlstack:proxy", PROXY)]),
        ("", PROXY, [("config", "rm", "dlstack:proxy", "")]),
        # An encrypted value is not told.
        ("", None, [("config", "rm", "dlstack:proxy", "")]),
        (WITH_PASSWORD, None, [("config", "set", "--secret", "dlstack:proxy", WITH_PASSWORD)]),
    ],
)
def test_the_proxy_of_pods_follows_the_environment(pulumi, wanted, known, told):
    """A password goes by standard input: the last of each tuple."""
    Stack({"PULUMI_STACK": "local"}).set_proxy(wanted, known)
    assert pulumi.told == told


@pytest.mark.parametrize("is_lost", [True, False])
def test_what_a_lost_cluster_had_is_compared_with_what_is_there(tmp_path, monkeypatch, is_lost):
    monkeypatch.setenv("PATH", fake_pulumi.install(tmp_path)["PATH"])
    Stack({"PULUMI_STACK": "local"}).up(refresh=is_lost)
    ((command, *flags),) = fake_pulumi.calls(tmp_path)
    assert command == "up"
    assert ("--refresh" in flags) == is_lost
