"""What the processes in pods say, in the words of whoever configures the stack.

They know flags and variables, which the program sets from configuration keys.
"""

import re
from collections.abc import Callable

from store.errors import ENVIRONMENT, PROGRAM

_ADVICE = {ENVIRONMENT[kind]: PROGRAM[kind] for kind in ENVIRONMENT}
"""What to do about a store, as a pod says it and as its user needs it."""

_VARIABLES = {
    "AWS_ENDPOINT_URL_S3": "dlstack:s3Endpoint",
    "AWS_ACCESS_KEY_ID": "dlstack:s3AccessKey",
    "AWS_SECRET_ACCESS_KEY": "dlstack:s3SecretKey",
    "AWS_REGION": "dlstack:s3Region",
}

_PARAMETER = r"--([A-Za-z][\w-]*)"

_WORDS: tuple[tuple[str, str | Callable[["re.Match[str]"], str]], ...] = (
    # A boot file's data lie in a folder of the pod that says nothing to anybody.
    (r"--data_url(=('[^']*'|\"[^\"]*\"|\S+))?", "dlstack:dataDir"),
    # argparse's words for what the boot file was given.
    (rf"(argument|required:) {_PARAMETER}", r"\1 dlstack:runParameters.\2"),
    (
        r"unrecognized arguments: .*",
        lambda match: re.sub(_PARAMETER, r"dlstack:runParameters.\1", match[0]),
    ),
    (rf"\b({'|'.join(_VARIABLES)})\b", lambda match: _VARIABLES[match[1]]),
)


def in_keys(text: str) -> str:
    """Return `text` of a process with configuration keys in the place of flags and variables."""
    for said, wanted in _ADVICE.items():
        text = text.replace(said, wanted)
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text)
    return text
