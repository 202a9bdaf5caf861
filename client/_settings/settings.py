"""Which server and model: from arguments, the environment, or the outputs of a deployed stack."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._transports.base import (
    DEFAULT_PORTS,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    TransportName,
    split_host,
)
from .._transports.tls import Tls, is_pem
from ..errors import SettingsError
from .stack import read_stack, settings_in


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


#: Names of this machine for itself.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

#: What says where the server is: of no use beside a stack that was named.
_WHERE = ("host", "port", "model", "tls", "ca", "client_cert", "client_key", "token", "token_file")


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

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a client with these settings."""
        return {
            "host": self.host,
            "model": self.model,
            "port": self.port,
            "transport": self.transport,
            "signature": self.signature,
            "version": self.version,
            "version_label": self.label,
            "timeout": self.timeout,
            "retries": self.retries,
            "tls": Tls(self.ca, self.client_cert, self.client_key) if self.tls else None,
            "token": self.token,
        }

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


class _Chosen:
    """The settings that have a value by now, and where each is from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def set(self, name: str, value: Any, source: str) -> None:
        """Give a setting a value, whether or not it had one."""
        self.values[name], self.sources[name] = value, source

    def fill(self, name: str, value: Any, source: str = "default") -> None:
        """Give a setting a value unless it has one."""
        if name not in self:
            self.set(name, value, source)

    def is_flag(self, name: str) -> bool:
        """Whether a setting was given on the command line."""
        return self.sources[name].startswith("--")


def resolve(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    read_stack: Callable[[], Mapping[str, Any]],
) -> Settings:
    """Return the settings: of flags, environment and stack, the first that has one.

    The stack is read only if flags and environment lack host or model, since that may start a
    process. Its ports are its own host's: with another host the port is TF Serving's own.

    Args:
        flags: setting to value, None or absent where not given.
        environment: `os.environ`.
        read_stack: returns the stack's outputs, or raises SettingsError.

    Raises:
        SettingsError: a value makes no sense, or host or model are nowhere.
    """
    chosen = _given(flags, environment)
    chosen.fill("transport", "grpc")
    transport = chosen.values["transport"]
    if transport not in DEFAULT_PORTS:
        raise SettingsError(f"Transport {transport!r} is unknown. Take grpc or rest.")
    if "host" not in chosen or "model" not in chosen:
        _fill_from_stack(chosen, settings_in(read_stack(), transport))
    for name in ("host", "model"):
        if name not in chosen:
            raise SettingsError(
                f"The stack has no output for the {name}. "
                f"Give it with --{name} or {variable(name)}, or run `pulumi up` first; with "
                "dlstack:deploy false it serves nothing."
            )
    chosen.fill("port", DEFAULT_PORTS[transport])
    chosen.fill("timeout", DEFAULT_TIMEOUT)
    chosen.fill("retries", DEFAULT_RETRIES)
    _settle_tls(chosen)
    _settle_token(chosen)
    for name in READERS:
        chosen.fill(name, None)
    timeout = chosen.values["timeout"]
    if not (timeout > 0 and math.isfinite(timeout)):
        raise SettingsError(f"Timeout {timeout} is not a time. Give seconds above 0.")
    return Settings(**chosen.values, sources=chosen.sources)


def _given(flags: Mapping[str, Any], environment: Mapping[str, str]) -> _Chosen:
    """Return the settings of flags and environment.

    Raises:
        SettingsError: the text of a variable is not of its setting's kind.
    """
    chosen = _Chosen()
    for name, read in READERS.items():
        text = environment.get(variable(name), "")
        if flags.get(name) is not None:
            chosen.set(name, flags[name], f"--{name.replace('_', '-')}")
        elif text:
            try:
                chosen.set(name, read(text), variable(name))
            except ValueError as exc:
                kind = _KINDS[read]
                raise SettingsError(f"{variable(name)}={text!r} is not {kind}. Set it so.") from exc
    if "host" in chosen:
        host, port = split_host(chosen.values["host"])
        source = chosen.sources["host"]
        chosen.set("host", host, source)
        if port is not None:
            if "port" in chosen and chosen.is_flag("port") and chosen.values["port"] != port:
                raise SettingsError(
                    f"{source} says port {port}, --port {chosen.values['port']}. Give one of them."
                )
            chosen.set("port", port, source)
    if "version" in chosen and "label" in chosen:
        # They name the same thing: a flag for one takes the place of a variable for the other.
        if chosen.is_flag("version") and not chosen.is_flag("label"):
            del chosen.values["label"]
        elif chosen.is_flag("label") and not chosen.is_flag("version"):
            del chosen.values["version"]
    return chosen


def _fill_from_stack(chosen: _Chosen, found: dict[str, Any]) -> None:
    """Take from the stack what is missing and may be taken from it."""
    if "host" in chosen and not _same_host(chosen.values["host"], found.get("host", "")):
        # The rest is for the stack's own host; above all its token may go to no other.
        found = {name: value for name, value in found.items() if name == "model"}
    for name, value in found.items():
        unwanted = (name == "ca" and chosen.values.get("tls") is False) or (
            name == "token" and "token_file" in chosen
        )
        if not unwanted:
            chosen.fill(name, value, "output of the Pulumi stack")


def _same_host(one: str, other: str) -> bool:
    """Whether both name the same host, as far as can be said without asking the network."""
    names = {name.strip("[]").rstrip(".").lower() for name in (one, other)}
    return len(names) == 1 or names <= _LOOPBACK


def _settle_tls(chosen: _Chosen) -> None:
    """Turn TLS on where a file for it is given.

    Raises:
        SettingsError: it is also said to be off. A file that is not used would pass for encryption.
    """
    for name in ("ca", "client_cert", "client_key"):
        if name not in chosen:
            continue
        if chosen.values.get("tls") is False:
            raise SettingsError(
                f"{chosen.sources[name]} is given, but {chosen.sources['tls']} says no TLS. "
                "Take one back."
            )
        chosen.set("tls", True, chosen.sources[name])
    chosen.fill("tls", False)


def _settle_token(chosen: _Chosen) -> None:
    """Read the file of the token, where one is given and no other token comes before it.

    Raises:
        SettingsError: it cannot be read.
    """
    # A token itself cannot be given on the command line, so a file that is comes first.
    if "token_file" in chosen and ("token" not in chosen or chosen.is_flag("token_file")):
        token = _read_token(chosen.values["token_file"])
        chosen.set("token", token, chosen.sources["token_file"])


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise SettingsError(
            f"Cannot read token file {path!r} ({reason}). Give a file that holds only the token."
        ) from exc


def from_surroundings(
    flags: Mapping[str, Any], *, folder: str | Path | None = None, stack: str | None = None
) -> Settings:
    """Return `resolve` of this process' environment and folder.

    With a folder or a stack that is named, variables don't lead elsewhere.

    Args:
        flags: as for `resolve`.
        folder, stack: as for `read_stack`.
    """
    environment: Mapping[str, str] = os.environ
    if folder is not None or stack is not None:
        leading = {variable(name) for name in _WHERE}
        environment = {name: value for name, value in environment.items() if name not in leading}
    return resolve(flags, environment, lambda: read_stack(folder, stack))
