"""What can go wrong with a prediction.

    PredictionError
    ├── ConnectionFailed    no server of the chosen transport could be reached
    ├── DeadlineExceeded    the server did not answer within the timeout
    ├── ServerError         the server answered with an error: its code and its own words
    ├── InvalidInput        what was given does not fit the model's signature; nothing was sent
    ├── FileError           a file could not be read or makes no sense; nothing of it was sent
    │   └── PictureError    a picture
    └── SettingsError       host, port or model are unknown or make no sense

Every message is one line: what was wrong, with the value, then what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_LONGEST_QUOTE = 300

#: What a model's graph refuses, in words for people, and then of which row: docs/contracts.md.
_REFUSED = re.compile(r"assertion failed: \[(.+?)\](?= \[|\s*\n|\s*$)", re.DOTALL)
#: In it, as TensorFlow writes quotes, ends of lines and bytes that are no text.
_ESCAPED = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
#: Of TensorFlow's decoders.
_DAMAGED = re.compile(
    r"\bInvalid (?:PNG|JPEG|GIF)\b|Incomplete bmp content"
    r"|Input size should match \(header_size|Failed to decode WebP"
)


class PredictionWarning(UserWarning):
    """What the client took for granted, since neither caller nor model say it, or did otherwise
    than asked. Each text comes once a call."""


class PredictionError(Exception):
    """Base class: catch this one to catch whatever the client raises on purpose.

    Attributes:
        host: `host:port` of the server, empty when none was involved.
        model: name of the model asked for, empty when none was.
        signature: name of the signature asked for, empty when none was.
        source: the example that it is of, as in `ExamplePrediction`; empty where it is of no one.
        cells: the row of the table that it is of, by column; None where it is of none.
    """

    host = ""
    model = ""
    signature = ""
    source = ""
    cells: Mapping[str, str] | None = None


class ConnectionFailed(PredictionError):
    """The server could not be reached, or something else listens on its port.

    Attributes:
        transient: whether nothing listens there or the connection broke, so that another try may
            find the server.
    """

    def __init__(self, text: str, *, transient: bool = False) -> None:
        super().__init__(text)
        self.transient = transient


class DeadlineExceeded(PredictionError):
    """No answer within the timeout."""


class ServerError(PredictionError):
    """The server refused the request or failed.

    Attributes:
        code: name of the gRPC status, e.g. `"NOT_FOUND"`. Over REST it is the status that TF
            Serving maps to the HTTP code, so 400 is always `"INVALID_ARGUMENT"`.
        message: the server's own text.
    """

    def __init__(self, address: str, code: str, message: str) -> None:
        refused = _refusal(message)
        # TF's messages may be whole stack traces: one line of them is shown, `message` has all.
        line = " ".join((refused or message).split())
        if len(line) > _LONGEST_QUOTE:
            line = line[:_LONGEST_QUOTE] + "..."
        line = line.rstrip(".")
        super().__init__(
            f"The model at {address} refuses this: {line}."
            if refused
            else f"{address} answered {code}: {line}. {_advice(code, message)}"
        )
        self.code = code
        self.message = message


class InvalidInput(PredictionError):
    """Input, signature or output do not fit what the server's metadata says."""


class FileError(PredictionError):
    """A file (picture, tensor, text, labels) could not be read, or its content does not fit.

    Attributes:
        path: the file or folder as it was given.
    """

    def __init__(self, path: str, text: str, source: str = "") -> None:
        super().__init__(text)
        self.path = path
        self.source = source or path


class PictureError(FileError):
    """A picture could not be read."""


class SettingsError(PredictionError):
    """A setting is missing, or its value makes no sense."""


def _refusal(message: str) -> str:
    """Return what a model refuses, in words for people; empty where the message is of another kind.

    The page and the gateway's form say the same.
    """
    if refused := _REFUSED.search(message):
        return _ESCAPED.sub(lambda found: found[1] if found[1] in "\\\"'?" else " ", refused[1])
    return "the file is damaged or incomplete" if _DAMAGED.search(message) else ""


def _advice(code: str, message: str) -> str:
    """Return what to do about a server's error; the texts it looks for are TF Serving's."""
    if code == "NOT_FOUND":
        return "Check the model's name and version, and with the command `status` what is loaded."
    if code == "HTTP 413" or "Send less at once" in message:
        return "Send fewer rows at once, or smaller ones."
    if "version label" in message:
        return "Give one of the server's configuration; --labels is the file of class names."
    if "signature" in message.lower() and "not found" in message:
        return "Take a signature that the command `metadata` lists."
    if code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        return "Compare what was sent with what the command `metadata` lists."
    if code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"):
        return "The server is starting, stopping or overloaded: try again later."
    if code == "UNIMPLEMENTED" and "JSON" in message:
        return "Use the transport `grpc`, which carries every dtype."
    if code == "UNIMPLEMENTED":
        return "Check the port: this server may be no TensorFlow Serving."
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return "Ask whoever runs the server for access."
    return "Look at the server's log."
