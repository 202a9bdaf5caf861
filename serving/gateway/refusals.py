"""What an error of the model server says to people. The page (web/refusals.js) and the client say
the same."""

from __future__ import annotations

import re

_ASSERTED = re.compile(r"assertion failed: \[(.+?)\](?= \[|\s*\n|\s*$)", re.S)
"""Of an assertion in a graph, its first value: docs/contracts.md."""

_ESCAPED = re.compile(r"\\([0-7]{3}|.)", re.S)
"""As TensorFlow writes quotes, ends of lines and bytes that are no text."""

_DAMAGED = re.compile(
    r"\bInvalid (?:PNG|JPEG|GIF)\b|Incomplete bmp content"
    r"|Input size should match \(header_size|Failed to decode WebP"
)
"""Of TensorFlow's decoders."""

_WHERE = re.compile(r"\n|\s*\[\[\{\{node")
"""Below the first line are names of a graph's nodes and where in the source they come from."""

_FLAG = re.compile(r" \(--\w+\)")
"""For whoever runs the server."""


def for_people(text: str) -> str:
    """Return what an error's text says to people."""
    if asserted := _ASSERTED.search(text):
        return _ESCAPED.sub(lambda found: found[1] if found[1] in "\\\"'?" else " ", asserted[1])
    first = _FLAG.sub("", _WHERE.split(text)[0].strip())
    return "the file is damaged or incomplete" if _DAMAGED.search(first) else first
