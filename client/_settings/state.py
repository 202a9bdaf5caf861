"""Outputs of a stack, read from the state that Pulumi keeps in files: no process is started.

Only back ends of files (`file://...`) can be read so, and only outputs that are not encrypted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

#: The key by which Pulumi marks a value of its own kind, and the value for a secret
#: (sdk/go/common/resource/sig, of Pulumi's sources).
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"


class Encrypted(Exception):
    """An output that is needed is a secret, which only Pulumi can decrypt."""


def stacks_of(backend: str) -> Path | None:
    """Return the folder of the states in a back end; None if it is not one of files."""
    url = urlsplit(backend)
    if url.scheme != "file":
        return None
    # `file://~` is the home folder, `file://./state` relative.
    path = unquote(url.netloc + url.path)
    return Path(path).expanduser() / ".pulumi" / "stacks"


def current_backend(environment: Mapping[str, str]) -> str | None:
    """Return the URL of the back end that Pulumi would use, or None if it is logged in to none."""
    if url := environment.get("PULUMI_BACKEND_URL"):
        return url
    try:
        credentials = json.loads((_home(environment) / "credentials.json").read_bytes())
    except (OSError, ValueError):
        return None
    current = credentials.get("current") if isinstance(credentials, dict) else None
    return current if isinstance(current, str) and current else None


def project_name(project: Path) -> str | None:
    """Return the name of the Pulumi project in a folder."""
    try:
        text = (project / "Pulumi.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.search(r"^name:\s*[\"']?([\w.-]+)", text, re.MULTILINE)
    return found[1] if found else None


def selected_stack(project: Path, environment: Mapping[str, str]) -> str | None:
    """Return the name of the stack that is selected in a project; None if none is known to be."""
    if name := environment.get("PULUMI_STACK"):
        return name.rpartition("/")[2]
    for folder in (project, project.resolve()):
        # workspace.go of Pulumi's sources: the project's name and the SHA-1 of its file's path.
        path = hashlib.sha1(str(folder / "Pulumi.yaml").encode(), usedforsecurity=False)
        file = f"{project_name(project)}-{path.hexdigest()}-workspace.json"
        try:
            settings = json.loads((_home(environment) / "workspaces" / file).read_bytes())
            return str(settings["stack"]).rpartition("/")[2]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def deployed(stacks: Path) -> Iterator[Path]:
    """Yield the states in a folder of `stacks_of`, the newest first."""
    files = [file for file in stacks.glob("*/*.json") if file.is_file()]
    yield from sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)


def outputs_in(state: Path, needed: frozenset[str]) -> dict[str, Any] | None:
    """Return the outputs in the state of a stack; None if there is none, or it is not deployed.

    Raises:
        Encrypted: one of those that are `needed` is a secret.
    """
    try:
        resources = json.loads(state.read_bytes())["checkpoint"]["latest"]["resources"]
        outputs = next(
            resource["outputs"]
            for resource in resources
            if resource["type"] == "pulumi:pulumi:Stack" and resource.get("outputs")
        )
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    for name, value in outputs.items():
        if name in needed and isinstance(value, dict) and value.get(_SIGNATURE) == _SECRET:
            raise Encrypted
    return dict(outputs)


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
