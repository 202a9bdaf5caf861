"""What the processes in pods say, in the words of whoever configures the stack.

They know flags and variables, which the program sets from configuration keys.
"""

import re
from collections.abc import Callable

from store.errors import ENVIRONMENT, IN_STACK, PROGRAM

from . import names

_IN_STACK = re.compile(rf"'http://{names.OBJECT_STORE}\.[\w-]+\.svc:\d+'")
"""The stack's own store, as its pods name it: no key of the configuration does."""

_VARIABLES = {
    "AWS_ENDPOINT_URL_S3": "dlstack:s3Endpoint",
    "AWS_ACCESS_KEY_ID": "dlstack:s3AccessKey",
    "AWS_SECRET_ACCESS_KEY": "dlstack:s3SecretKey",
    "AWS_SESSION_TOKEN": "dlstack:s3SessionToken",
    "AWS_REGION": "dlstack:s3Region",
    "DLSTACK_S3_ADDRESSING_STYLE": "dlstack:s3AddressingStyle",
    "DLSTACK_S3_CA_CERTIFICATE": "dlstack:s3CaCertificate",
}

_PARAMETER = r"--([A-Za-z][\w-]*)"

_WORDS: tuple[tuple[str, str | Callable[["re.Match[str]"], str]], ...] = (
    # A boot file's data lie in a folder of the pod that says nothing to anybody.
    (r"--data_url(=('[^']*'|\"[^\"]*\"|\S+))?", "dlstack:dataDir"),
    # argparse's words for what the boot file was given.
    (rf"argument {_PARAMETER}", r"argument dlstack:runParameters.\1"),
    (rf"\b({'|'.join(_VARIABLES)})\b", lambda match: _VARIABLES[match[1]]),
)

_USAGE = re.compile(r"^usage: .*\n(?:[ \t].*\n)*(?=\S.*: error: )", re.MULTILINE)
"""argparse's list of all flags, before its error: the keys of some would read oddly in it."""
_FLAGS_ERROR = re.compile(r"((?:unrecognized arguments|arguments are required): .*)")
_OF_THE_STACK = ("data_url", "train_url")
"""What every boot file is given; no key holds it."""


def in_keys(text: str) -> str:
    """Return `text` of a process with configuration keys in the place of flags and variables."""
    others_and_errors = _FLAGS_ERROR.split(_USAGE.sub("", text))
    return "".join(
        _of_flags(part) if number % 2 else _of_others(part)
        for number, part in enumerate(others_and_errors)
    )


def _of_flags(error: str) -> str:
    """Return argparse's error about missing or unknown flags, with what to do about it."""
    # Not what stands in a value.
    flags = list(dict.fromkeys(re.findall(rf"(?<!\S){_PARAMETER}", error)))
    names = [name for name in flags if name not in _OF_THE_STACK]
    said = re.sub(
        rf"(?<!\S){_PARAMETER}",
        lambda flag: f"dlstack:runParameters.{flag[1]}" if flag[1] in names else flag[0],
        error,
    )
    if not flags:
        return said
    if "required" in error:
        return f"{said}. Run 'pulumi config set --path dlstack:runParameters.{flags[0]} VALUE'."
    advice = []
    if len(names) < len(flags):
        advice.append("Let the boot file take --data_url and --train_url (docs/training.md).")
    if names:
        others = " for each" if len(names) > 1 else ""
        advice.append(
            "The boot file doesn't take what is set: run 'pulumi config rm --path "
            f"dlstack:runParameters.{names[0]}'{others}, or 'pulumi config rm "
            "dlstack:runParameters' for all."
        )
    return f"{said}. {' '.join(advice)}"


def _of_others(text: str) -> str:
    advice = IN_STACK if _IN_STACK.search(text) else PROGRAM
    for kind, said in ENVIRONMENT.items():
        if said in text:
            text = text.replace(said, advice[kind])
            break
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text)
    return text
