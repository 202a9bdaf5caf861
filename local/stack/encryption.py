"""The passphrase that encrypts a stack's secrets, and a configuration file that outlived its own.

Pulumi keeps a salt in `Pulumi.STACK.yaml`, by which it knows whether a passphrase is the right one.
The file lies in the checkout, so it stays when the folder with state and passphrase is removed.
"""

import re
import secrets
from pathlib import Path
from typing import Any

import yaml

from ..console import LocalError, say
from ..home import Home, write_private

WRONG = "incorrect passphrase"
"""Pulumi's words for a salt that was made with another passphrase."""
_SALT = re.compile(r"^encryptionsalt:.*\n?", re.MULTILINE)


def file(home: Home) -> Path:
    """Where this machine's passphrase is."""
    return home.stacks / "passphrase"


def create(home: Home) -> None:
    """Make the passphrase unless it is there.

    Raises:
        LocalError: it is gone, and stacks are left that only it can decrypt.
    """
    if file(home).exists():
        return
    if any((home.stacks / ".pulumi" / "stacks").rglob("*.json")):
        raise LocalError(
            f"the passphrase {file(home)} is gone, and the state in {home.stacks} can't be "
            "decrypted without it.",
            "Put it back, or set PULUMI_CONFIG_PASSPHRASE to it.",
        )
    write_private(file(home), secrets.token_urlsafe(32).encode())


def forget_lost_salt(configuration: Path) -> None:
    """Take the salt of another passphrase out of a stack's configuration.

    Only where nothing was encrypted with it. All else in the file stays as it is.

    Raises:
        LocalError: the file has secrets, which nobody can decrypt without that passphrase.
    """
    text = configuration.read_text()
    if keys := _secret_keys(text):
        raise LocalError(
            f"{configuration} has secrets ({', '.join(keys)}) of a stack that is not here any "
            "more: another passphrase encrypted them.",
            "Set PULUMI_CONFIG_PASSPHRASE to that passphrase. If it is lost, remove these keys and "
            "the line 'encryptionsalt' from the file, run `make up`, and set them again.",
        )
    configuration.write_text(_SALT.sub("", text))
    say(f"took the encryption salt of a stack that is gone out of {configuration} (no secrets)")


def take_salt_of_state(configuration: Path, salt: str) -> bool:
    """Give a stack's configuration the salt of its state, where it has one of another home's stack.

    The checkout was used with another DLSTACK_HOME meanwhile. All else in the file stays.

    Returns:
        Whether the file had another salt, and nothing was encrypted with that.
    """
    text = configuration.read_text()
    is_other = _read(text).get("encryptionsalt") not in (None, salt)
    if not is_other or _secret_keys(text):
        return False
    configuration.write_text(_SALT.sub(f"encryptionsalt: {salt}\n", text))
    say(f"gave {configuration} the encryption salt of the stack that is here (no secrets)")
    return True


def _read(text: str) -> dict[str, Any]:
    return yaml.safe_load(text) or {}


def _secret_keys(text: str) -> list[str]:
    """The keys of a configuration that are encrypted, or have something encrypted in them."""
    config = _read(text).get("config") or {}
    return sorted(str(key) for key, value in config.items() if _has_secret(value))


def _has_secret(value: object) -> bool:
    if isinstance(value, dict):
        return set(value) == {"secure"} or any(map(_has_secret, value.values()))
    return isinstance(value, list) and any(map(_has_secret, value))
