"""Which server and model: from flags, the environment, or the outputs of a Pulumi stack."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .._calls.client import Client
from .._calls.core import DEFAULT_PORTS, DEFAULT_RETRIES, DEFAULT_TIMEOUT, TransportName
from .._transports.tls import Tls, is_pem
from ..errors import SettingsError


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise ValueError(text)
    return text.lower() in ("1", "true", "yes")


#: Settings that flags and environment may give: name to how it is read from text.
READERS: Mapping[str, Callable[[str], Any]] = {
    "transport": str,
    "host": str,
    "port": int,
    "model": str,
    "version": int,
    "label": str,
    "signature": str,
    "timeout": float,
    "retries": int,
    "tls": _yes_or_no,
    "ca": str,
    "client_cert": str,
    "client_key": str,
    "token_file": str,
    "token": str,
}

_KINDS: Mapping[Callable[[str], Any], str] = {
    int: "a whole number",
    float: "a number",
    _yes_or_no: "yes or no",
}

#: `pulumi` asks its back end, which may be far; it must not hang a script for ever.
_STACK_TIMEOUT = 60


def variable(name: str) -> str:
    """Return the environment variable of a setting: `DLSTACK_HOST` for `host`."""
    return f"DLSTACK_{name.upper()}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client needs to know, and where each value is from."""

    transport: TransportName
    host: str
    port: int
    model: str
    version: int | None
    label: str | None
    signature: str | None
    timeout: float
    retries: int
    tls: bool
    ca: str | None
    client_cert: str | None
    client_key: str | None
    token_file: str | None
    token: str | None = field(repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)

    def connect(self) -> Client:
        """Return a client with these settings."""
        return Client(
            self.host,
            self.model,
            port=self.port,
            transport=self.transport,
            signature=self.signature,
            version=self.version,
            version_label=self.label,
            timeout=self.timeout,
            retries=self.retries,
            tls=Tls(self.ca, self.client_cert, self.client_key) if self.tls else None,
            token=self.token,
        )

    def without_default_retries(self) -> Settings:
        """Return these settings with retries only where someone asked for them."""
        if self.sources["retries"] != "default":
            return self
        return replace(self, retries=0)

    def lines(self) -> list[str]:
        """Return one line for each setting that has a value: `host = 10.0.0.3 (--host)`."""
        return [
            f"{name} = {_shown(name, getattr(self, name))} ({self.sources[name]})"
            for name in READERS
            if getattr(self, name) is not None and getattr(self, name) is not False
        ]


def _shown(name: str, value: Any) -> Any:
    if name == "token":
        return "set"
    return "a PEM text" if name == "ca" and is_pem(value) else value


def resolve(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    read_stack: Callable[[], Mapping[str, Any]],
) -> Settings:
    """Return the settings: of flags, environment and stack, the first that has one.

    The stack is only read where host or model are in neither of the others, as that costs a
    process. Its ports are its own host's: with a host from elsewhere the port is TF Serving's own.

    Args:
        flags: setting to value, None or absent where not given.
        environment: `os.environ`.
        read_stack: returns the stack's outputs, or raises SettingsError.

    Raises:
        SettingsError: a value makes no sense, or host or model are nowhere.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, read in READERS.items():
        text = environment.get(variable(name), "")
        if flags.get(name) is not None:
            values[name], sources[name] = flags[name], f"--{name.replace('_', '-')}"
        elif text:
            try:
                values[name] = read(text)
            except ValueError as exc:
                kind = _KINDS[read]
                raise SettingsError(f"{variable(name)}={text!r} is not {kind}. Set it so.") from exc
            sources[name] = variable(name)

    if {"version", "label"} <= values.keys():
        # They name the same thing: a flag for one takes the place of a variable for the other.
        for one, other in (("version", "label"), ("label", "version")):
            if sources[one].startswith("--") and not sources[other].startswith("--"):
                del values[other]

    def default(name: str, value: Any) -> None:
        if name not in values:
            values[name], sources[name] = value, "default"

    default("transport", "grpc")
    if values["transport"] not in DEFAULT_PORTS:
        raise SettingsError(f"Transport {values['transport']!r} is unknown. Take grpc or rest.")
    if "host" not in values or "model" not in values:
        found = _from_outputs(read_stack(), values["transport"])
        if "host" in values:
            # Least of all may its token go to another host.
            found = {"model": found["model"]} if "model" in found else {}
        if values.get("tls") is False:
            found.pop("ca", None)
        if "token_file" in values:
            found.pop("token", None)
        for name, value in found.items():
            if name not in values:
                values[name], sources[name] = value, "output of the Pulumi stack"
    for name in ("host", "model"):
        if name not in values:
            raise SettingsError(
                f"The stack has no output for the {name}. "
                f"Give it with --{name} or {variable(name)}, or run `pulumi up` first."
            )
    default("port", DEFAULT_PORTS[values["transport"]])
    default("timeout", DEFAULT_TIMEOUT)
    default("retries", DEFAULT_RETRIES)
    for name in ("version", "label", "signature", "ca", "client_cert", "client_key", "token_file"):
        default(name, None)
    for name in ("ca", "client_cert", "client_key"):
        if values[name] is not None:
            # A file for TLS that was not used would pass for encryption.
            if values.get("tls") is False:
                raise SettingsError(
                    f"{sources[name]} is given, but {sources['tls']} says no TLS. Take one back."
                )
            values["tls"], sources["tls"] = True, sources[name]
    default("tls", False)
    # Of both, the one that was given on the command line: a token itself cannot be.
    if values["token_file"] is not None and (
        "token" not in values or sources["token_file"] == "--token-file"
    ):
        values["token"] = _read_token(values["token_file"])
        sources["token"] = sources["token_file"]
    default("token", None)
    if not (values["timeout"] > 0 and math.isfinite(values["timeout"])):
        raise SettingsError(f"Timeout {values['timeout']} is no time. Give seconds above 0.")
    return Settings(**values, sources=sources)


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise SettingsError(
            f"Cannot read token file {path!r} ({reason}). Give a file that holds only the token."
        ) from exc


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
            timeout=_STACK_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else f"no answer in {_STACK_TIMEOUT} s"
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


def _from_outputs(outputs: Mapping[str, Any], transport: str) -> dict[str, Any]:
    """Return what the stack's outputs have of the settings."""
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


def from_surroundings(flags: Mapping[str, Any]) -> Settings:
    """Return `resolve` of this process' environment and folder."""
    return resolve(flags, os.environ, read_stack)
