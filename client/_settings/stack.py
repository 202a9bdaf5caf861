"""The settings that a deployed stack has among its outputs, and where such a stack is found.

In this order: the Pulumi project of the folder, with the back end that Pulumi would use there; the
stack that `make up` deployed from this machine, whose state is in `~/.dlstack` (DLSTACK_HOME); the
project around this package, where it lies in a checkout. A state in files is read without Pulumi.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import SettingsError
from .state import (
    Encrypted,
    current_backend,
    deployed,
    outputs_in,
    project_name,
    selected_stack,
    stacks_of,
)

#: `pulumi` asks its back end, which may be far; it must not hang a script for ever.
_TIMEOUT = 60

#: What `make up` calls its stack.
_LOCAL = "local"

_NEEDED = frozenset({"host", "grpcPort", "restUrl", "modelName", "tls", "caCertificate", "token"})

_ADVICE = (
    "Give host and model (--host and --model, or DLSTACK_HOST and DLSTACK_MODEL), or go to the "
    "folder of the stack's Pulumi.yaml"
)


class _NoStack(Exception):
    """Why a place has no stack: a clause of a sentence."""


def read_stack(folder: str | Path | None = None, name: str | None = None) -> Mapping[str, Any]:
    """Return the outputs of a deployed stack.

    Args:
        folder: of the Pulumi project, or one in it; absent, the current one, and where that is in
            no project, the places that this module names.
        name: of the stack; absent, the one that is selected in the project.

    Raises:
        SettingsError: there is no such stack, or it cannot be read.
    """
    environment = os.environ
    start = Path(folder or Path.cwd()).absolute()
    project = _project_around(start)
    if folder is not None and project is None:
        raise SettingsError(
            f"Folder '{start}' is in no Pulumi project. Name the one with the stack's Pulumi.yaml."
        )
    reasons: list[str] = []
    places: list[Callable[[], Mapping[str, Any]]] = []
    if project is None:
        reasons.append(f"folder '{start}' is in no Pulumi project")
    else:
        places.append(partial(_of_project, project, name, environment))
    if folder is None:
        places.append(partial(_of_home, name, environment))
        around = _project_around(Path(__file__).resolve().parent)
        if project is None and around is not None:
            places.append(partial(_of_project, around, name, environment))
    for place in places:
        try:
            return place()
        except _NoStack as exc:
            reasons.append(str(exc))
    raise SettingsError(f"No deployed stack was found ({'; '.join(reasons)}). {_ADVICE}.")


def _project_around(folder: Path) -> Path | None:
    return next(
        (place for place in (folder, *folder.parents) if (place / "Pulumi.yaml").is_file()), None
    )


def _of_project(
    project: Path, name: str | None, environment: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return the outputs of a project's stack, in the back end that Pulumi would use."""
    backend = current_backend(environment)
    stack = name or selected_stack(project, environment)
    stacks = stacks_of(backend) if backend else None
    project_called = project_name(project)
    if stacks is not None and stack is not None and project_called is not None:
        try:
            found = outputs_in(stacks / project_called / f"{stack}.json", _NEEDED)
        except Encrypted:
            found = None
        if found is not None:
            return found
    if backend is None and not environment.get("PULUMI_ACCESS_TOKEN"):
        raise _NoStack(
            f"Pulumi is logged in nowhere that could know the stack of '{project}': `pulumi login` "
            'does it, or `eval "$(make env)"` for the stack of `make up`'
        )
    return _ask_pulumi(project, name, {})


def _of_home(name: str | None, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the outputs of the stack that `make up` deployed, or of the newest beside it."""
    home = Path(environment.get("DLSTACK_HOME") or Path.home() / ".dlstack").absolute()
    states = list(deployed(home / "pulumi" / ".pulumi" / "stacks"))
    wanted = [state for state in states if state.stem == (name or _LOCAL)]
    for state in wanted or ([] if name else states):
        try:
            found = outputs_in(state, _NEEDED)
        except Encrypted:
            backend = f"file://{quote(str(home / 'pulumi'))}?metadata=skip"
            own = {
                "PULUMI_BACKEND_URL": backend,
                "PULUMI_CONFIG_PASSPHRASE_FILE": str(home / "pulumi" / "passphrase"),
                "PULUMI_HOME": str(home / "pulumi" / "home"),
            }
            project = _project_around(Path(__file__).resolve().parent) or home
            return _ask_pulumi(project, f"organization/{state.parent.name}/{state.stem}", own)
        if found is not None:
            return found
    which = f"stack '{name}'" if name else "stack"
    raise _NoStack(f"'{home}' has no deployed {which}")


def _ask_pulumi(project: Path, name: str | None, own: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what the command `pulumi` says the outputs are.

    Args:
        project: the folder to ask in.
        name: of the stack; absent, the selected one.
        own: variables that differ from this process' own.

    Raises:
        _NoStack: there is no `pulumi`, or it says that there is no stack.
    """
    import subprocess

    pulumi = shutil.which("pulumi")
    if pulumi is None:
        raise _NoStack(
            f"reading the stack of '{project}' takes the command `pulumi`, which is not on PATH: "
            '`eval "$(make env)"` in the checkout of dlstack puts it there'
        )
    # The token is a secret output; it stays in this process.
    command = [pulumi, "stack", "output", "--json", "--show-secrets", "--non-interactive"]
    if name is not None:
        command += ["--stack", name]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env={**os.environ, **own, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else f"no answer in {_TIMEOUT} s"
        raise _NoStack(f"`pulumi stack output` in '{project}' failed: {reason}") from exc
    try:
        outputs = json.loads(done.stdout) if done.returncode == 0 else None
    except ValueError:
        outputs = None
    if not isinstance(outputs, dict):
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise _NoStack(f"`pulumi stack output` in '{project}' failed: {said[-1]}")
    if not outputs.keys() & _NEEDED:
        raise _NoStack(f"the stack of '{project}' is not deployed: `pulumi up` does it")
    return outputs


def settings_in(outputs: Mapping[str, Any], transport: str) -> dict[str, Any]:
    """Return the settings that a stack's outputs hold, by name.

    Raises:
        SettingsError: the port in them makes no sense.
    """
    found = {
        "host": outputs.get("host"),
        "model": outputs.get("modelName"),
        "tls": outputs.get("tls"),
        "ca": outputs.get("caCertificate"),
        "token": outputs.get("token"),
    }
    try:
        if transport == "grpc":
            found["port"] = int(outputs["grpcPort"]) if outputs.get("grpcPort") else None
        elif url := outputs.get("restUrl"):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https"):
                raise ValueError(f"scheme {parts.scheme!r}")
            found["tls"] = parts.scheme == "https"
            found["host"] = parts.hostname
            found["port"] = parts.port or (443 if found["tls"] else 80)
    except (TypeError, ValueError) as exc:
        name = "grpcPort" if transport == "grpc" else "restUrl"
        raise SettingsError(
            f"The stack's output {name} is {outputs[name]!r} ({exc}). Give --host and --port."
        ) from exc
    return {name: value for name, value in found.items() if value}
