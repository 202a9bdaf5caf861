"""The settings that a Pulumi stack has among its outputs, which the command `pulumi` tells."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import SettingsError

#: `pulumi` asks its back end, which may be far; it must not hang a script for ever.
_TIMEOUT = 60


def read_stack(folder: Path | None = None) -> Mapping[str, Any]:
    """Return the outputs of the selected stack of the Pulumi project in `folder`.

    Args:
        folder: the current one when absent; Pulumi also looks for the project in those above.

    Raises:
        SettingsError: there is no project, no `pulumi`, no stack, or the stack cannot be read.
    """
    import subprocess

    folder = (folder or Path.cwd()).absolute()
    advice = "Give --host and --model (or DLSTACK_HOST and DLSTACK_MODEL), or run it in "
    if not any((above / "Pulumi.yaml").is_file() for above in (folder, *folder.parents)):
        raise SettingsError(
            f"Host or model are not given, and folder '{folder}' has no Pulumi stack to ask. "
            f"{advice}the folder of Pulumi.yaml."
        )
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        raise SettingsError(
            "Host or model are not given, and there is no `pulumi` on PATH to read the stack's "
            f"outputs with. {advice}an environment that has it."
        )
    # The token is a secret output; it stays in this process.
    command = [pulumi, "stack", "output", "--json", "--show-secrets", "--non-interactive"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else f"no answer in {_TIMEOUT} s"
        raise SettingsError(
            f"`pulumi stack output` failed ({reason}). {advice}a folder where that command works."
        ) from exc
    try:
        outputs = json.loads(done.stdout) if done.returncode == 0 else None
    except ValueError:
        outputs = None
    if not isinstance(outputs, dict):
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise SettingsError(
            f"`pulumi stack output` failed ({said[-1]}). {advice}a folder where that command works."
        )
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
