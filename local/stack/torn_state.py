"""A state in a back end of files that a power cut has cut off, and Pulumi's own copy of it."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from ..console import LocalError


def find(backend: str) -> LocalError | None:
    """The error of a back end with a state that is not whole; None if all can be read.

    Args:
        backend: its URL. Only one of this machine's files is looked at.
    """
    url = urlsplit(backend)
    if url.scheme != "file":
        return None
    for state in sorted(Path(url.path, ".pulumi", "stacks").rglob("*.json")):
        if _is_whole(state):
            continue
        # Pulumi keeps the one before the last; those of former commands are in `backups`.
        before = state.with_name(f"{state.name}.bak")
        remedy = (
            "Pulumi has kept the one before; what was made since is taken over: "
            f"`cp '{before}' '{state}' && make up`."
            if _is_whole(before)
            else f"Copy the newest whole one of {Path(url.path, '.pulumi', 'backups')} there, and "
            "run `make up` again."
        )
        return LocalError(
            f"the stack's state in {state} is not whole, as after a power cut in the middle of a "
            "write.",
            remedy,
        )
    return None


def _is_whole(state: Path) -> bool:
    try:
        json.loads(state.read_bytes())
    except (OSError, ValueError):
        return False
    return True
