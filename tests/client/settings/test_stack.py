"""How a stack is found and asked for its outputs. `pulumi` is a script here; the real one runs in
tests/cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client import AsyncClient, Client, SettingsError
from client._settings import stack as finding
from client._settings.stack import read_stack
from tests.serving_fixtures import ModelServer

Pulumi = Callable[[str], None]

OUTPUTS = {"host": "127.0.0.1", "grpcPort": 31670, "modelName": "mnist"}
SECRET = {
    "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
    "ciphertext": "v1:abc",
}


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack of this machine's, and no checkout around the client."""
    for name in list(os.environ):
        if name.startswith(("DLSTACK_", "PULUMI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr(finding, "__file__", str(tmp_path / "site-packages" / "stack.py"))


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulumi:
    """Put a `pulumi` with the given shell script for a body on PATH, logged in to a service."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://api.pulumi.example.com")

    def write(body: str) -> None:
        script = folder / "pulumi"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)

    return write


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder inside a Pulumi project."""
    (tmp_path / "project" / "inner").mkdir(parents=True)
    (tmp_path / "project" / "Pulumi.yaml").write_text("name: numbers\nruntime: python\n")
    return tmp_path / "project" / "inner"


def write_state(folder: Path, name: str, outputs: dict[str, Any] | None) -> Path:
    """Write the state of a stack as Pulumi does; `name` is `project/stack`."""
    path = folder / ".pulumi" / "stacks" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    resources = [{"type": "pulumi:pulumi:Stack", "outputs": outputs}] if outputs else []
    path.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}))
    return path


def test_outputs_are_read_from_the_stack_of_the_folder(pulumi: Pulumi, project: Path) -> None:
    asked = 'test "$1 $2 $3 $4" = "stack output --json --show-secrets"'
    pulumi(asked + ' && printf \'{"host": "%s"}\' "$(pwd)"')
    assert read_stack(project) == {"host": str(project.parent)}


def test_a_stack_may_be_named(pulumi: Pulumi, project: Path) -> None:
    pulumi('test "$6 $7" = "--stack dev" && echo \'{"host": "h"}\'')
    assert read_stack(project, "dev") == {"host": "h"}


def test_the_words_of_pulumi_are_passed_on(pulumi: Pulumi, project: Path) -> None:
    pulumi("echo 'error: no stack selected' >&2; exit 255")
    with pytest.raises(SettingsError, match=r"failed: error: no stack selected\)"):
        read_stack(project)


def test_an_answer_that_is_no_object_is_refused(pulumi: Pulumi, project: Path) -> None:
    pulumi("echo hello")
    with pytest.raises(SettingsError, match=r"failed: exit status 0\)"):
        read_stack(project)


def test_a_stack_that_is_not_deployed_is_said(pulumi: Pulumi, project: Path) -> None:
    pulumi("echo '{}'")
    with pytest.raises(SettingsError, match="is not deployed: `pulumi up` does it"):
        read_stack(project)


def test_outside_a_project_pulumi_is_not_even_started(
    pulumi: Pulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi(f"touch {tmp_path}/started")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = r"is in no Pulumi project; '.*nobody/.dlstack' has no deployed stack\). Give host"
    with pytest.raises(SettingsError, match=said):
        read_stack()
    with pytest.raises(SettingsError, match="elsewhere' is in no Pulumi project. Name the one"):
        read_stack(tmp_path / "elsewhere")
    assert not (tmp_path / "started").exists()


def test_without_pulumi_on_path_it_is_said_what_puts_it_there(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://states")
    with pytest.raises(
        SettingsError, match=r'not on PATH: `eval "\$\(make env\)"` in the checkout'
    ):
        read_stack(project)
    monkeypatch.delenv("PULUMI_BACKEND_URL")
    with pytest.raises(SettingsError, match=r"Pulumi is logged in nowhere .* `eval "):
        read_stack(project)


@pytest.mark.parametrize("how", ["variable", "selected"])
def test_a_state_in_files_is_read_without_pulumi(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("PATH", "")
    write_state(tmp_path / "states", "numbers/dev", OUTPUTS)
    write_state(tmp_path / "states", "numbers/prod", OUTPUTS | {"host": "prod"})
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'states'}?metadata=skip")
    if how == "variable":
        monkeypatch.setenv("PULUMI_STACK", "organization/numbers/dev")
    else:
        monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
        sha1 = hashlib.sha1(str(project.parent / "Pulumi.yaml").encode()).hexdigest()
        settings = tmp_path / "home" / "workspaces" / f"numbers-{sha1}-workspace.json"
        settings.parent.mkdir(parents=True)
        settings.write_text('{"stack": "organization/numbers/dev"}')
    assert read_stack(project) == OUTPUTS
    assert read_stack(project, "prod")["host"] == "prod"


def test_the_back_end_may_be_the_one_that_pulumi_is_logged_in_to(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_state(tmp_path / "nobody", "numbers/dev", OUTPUTS)
    credentials = tmp_path / "nobody" / ".pulumi" / "credentials.json"
    credentials.write_text('{"current": "file://~"}')
    monkeypatch.setenv("PULUMI_STACK", "dev")
    assert read_stack(project) == OUTPUTS


def test_secrets_are_decrypted_by_pulumi(
    pulumi: Pulumi, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi('echo \'{"host": "h", "token": "clear"}\'')
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'states'}")
    monkeypatch.setenv("PULUMI_STACK", "dev")
    write_state(tmp_path / "states", "numbers/dev", OUTPUTS | {"token": SECRET})
    assert read_stack(project) == {"host": "h", "token": "clear"}
    # Of no use to a client, and so no reason to start a process.
    write_state(tmp_path / "states", "numbers/dev", OUTPUTS | {"other": SECRET})
    assert read_stack(project)["host"] == "127.0.0.1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which `make up` keeps states, as seen from a folder of no project."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "pulumi"


def test_in_any_folder_the_stack_of_make_up_is_found(home: Path) -> None:
    write_state(home, "dlstack/local", OUTPUTS)
    write_state(home, "dlstack/newer", OUTPUTS | {"host": "newer"})
    assert read_stack()["host"] == "127.0.0.1"
    assert read_stack(name="newer")["host"] == "newer"
    write_state(home, "dlstack/local", None)
    with pytest.raises(SettingsError, match="has no deployed stack"):
        read_stack()


def test_of_secrets_of_the_stack_of_make_up_pulumi_is_asked_where_they_are(
    home: Path, pulumi: Pulumi
) -> None:
    write_state(home, "dlstack/local", OUTPUTS | {"token": SECRET})
    home.joinpath("x").touch()
    pulumi('printf \'{"host": "%s %s"}\' "$PULUMI_BACKEND_URL" "$7"')
    assert read_stack()["host"] == f"file://{home}?metadata=skip organization/dlstack/local"


def test_clients_of_both_kinds_come_from_the_stack(
    home: Path, mnist: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = OUTPUTS | {"grpcPort": mnist.grpc_port, "restUrl": mnist.rest_url}
    write_state(home, "dlstack/local", outputs)
    with Client.from_stack() as one:
        assert one.status().available
    with Client.from_stack(transport="rest", version=3, timeout=5) as one:
        assert (one.metadata().version, one.timeout) == (3, 5)

    async def ask() -> bool:
        async with AsyncClient.from_stack("local") as one:
            return (await one.status()).available

    assert asyncio.run(ask())
    # Variables come before the stack, but not before one that is named.
    monkeypatch.setenv("DLSTACK_MODEL", "other")
    assert (Client.from_stack().model, Client.from_stack("local").model) == ("other", "mnist")
