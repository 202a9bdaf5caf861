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
    advice = IN_STACK if _IN_STACK.search(text) else PROGRAM
    for kind, said in ENVIRONMENT.items():
        if said in text:
            text = text.replace(said, advice[kind])
            break
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text)
    return text
