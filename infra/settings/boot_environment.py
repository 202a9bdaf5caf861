"""The values of `dlstack:env` and `dlstack:secretEnv`: variables of the boot file's environment."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pulumi

from .reader import Reader

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_OWNED = re.compile(
    r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|REGION|ENDPOINT_URL_S3)|DLSTACK_.*|TF_CONFIG"
    r"|JOB_COMPLETION_INDEX|PYTHONPATH|PYTHONUNBUFFERED|VIRTUAL_ENV|PATH"
)
"""Names that the pod or the agent sets for the boot file, and relies on."""

_PROXY = re.compile(r"(HTTP|HTTPS|NO|ALL)_PROXY", re.IGNORECASE)

_PLAIN = "Set one with 'pulumi config set --path dlstack:env.NAME VALUE'"
_SECRET = "Set one with 'pulumi config set --secret --path dlstack:secretEnv.NAME'"


def read(reader: Reader) -> tuple[dict[str, str], dict[str, str]]:
    """Return name -> value of the plain variables, and of the secret ones.

    Raises:
        pulumi.RunError: a name or value can't be used, or a secret lies where it would be read.
            The message quotes no value of a secret.
    """
    if reader.is_secret("env"):
        raise pulumi.RunError(
            "dlstack:env has a secret value, which would stand in the Job for all to read. Move it "
            "to dlstack:secretEnv: 'pulumi config rm --path dlstack:env.NAME', then 'pulumi config "
            "set --secret --path dlstack:secretEnv.NAME'."
        )
    plain = _variables("env", reader.objects("env", _PLAIN), _PLAIN)
    secret = _variables("secretEnv", _secrets(reader), _SECRET)
    if both := sorted({*plain} & {*secret}):
        raise pulumi.RunError(
            f"'{both[0]}' is in dlstack:env and in dlstack:secretEnv. Remove one: 'pulumi config "
            f"rm --path dlstack:env.{both[0]}'."
        )
    return plain, secret


def _secrets(reader: Reader) -> Mapping[str, Any]:
    text = reader.raw("secretEnv")
    try:
        document = json.loads(text or "{}")
    except json.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise pulumi.RunError(f"dlstack:secretEnv is not an object of names and values. {_SECRET}.")
    if document and not reader.is_secret("secretEnv"):
        name = min(document)
        raise pulumi.RunError(
            f"dlstack:secretEnv.{name} is not encrypted in the stack's configuration. Run 'pulumi "
            f"config set --secret --path dlstack:secretEnv.{name}' and enter it, and change it "
            "where it was made: whoever has read the configuration knows it. What is no secret "
            "belongs into dlstack:env."
        )
    return document


def _variables(key: str, document: Mapping[str, Any], advice: str) -> dict[str, str]:
    found = {}
    for name, value in sorted(document.items()):
        if not _NAME.fullmatch(name):
            problem = f"which is not the name of a variable. {advice}"
        elif _PROXY.fullmatch(name):
            problem = "which dlstack:proxy sets. Set that key, and remove it here"
        elif _OWNED.fullmatch(name):
            problem = "which dlstack sets itself. Remove it, or use another name"
        elif not isinstance(value, str | int | float):
            problem = f"with a value that is neither a text nor a number. {advice}"
        elif "\0" in str(value):
            problem = "with a value that has a NUL character. Remove that"
        else:
            # As JSON would write it: true, not Python's True.
            found[name] = value if isinstance(value, str) else json.dumps(value)
            continue
        raise pulumi.RunError(f"dlstack:{key} has '{name}', {problem}.")
    return found
