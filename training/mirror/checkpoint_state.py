"""TensorFlow's file `checkpoint`, which names the checkpoints beside it."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Stamp = tuple[int, int]
"""What tells that a file has changed: its size in bytes, and its modification time in ns."""

_STATE_FILE = "checkpoint"
# `step-500.index`, `step-500.data-00000-of-00001`.
_PART = re.compile(r"\.(index|data-\d+-of-\d+)$")
# A protocol buffer as text: `model_checkpoint_path: "step-500"`.
_NAMED_CHECKPOINT = re.compile(rb'^(?:all_)?model_checkpoint_paths?: "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class CheckpointState:
    """A checkpoint state file as it was at one moment."""

    stamp: Stamp
    content: bytes
    checkpoints: frozenset[str]
    """Paths of the checkpoints that it names, relative to the mirrored folder: `x/step-500`."""

    @classmethod
    def read(cls, file: Path, path: PurePosixPath) -> "CheckpointState":
        """Read `file`, whose path in the mirrored folder is `path`."""
        stamp = stamp_of(file)
        content = file.read_bytes()
        names = (name.decode() for name in _NAMED_CHECKPOINT.findall(content))
        return cls(stamp, content, frozenset((path.parent / name).as_posix() for name in names))


def stamp_of(file: Path) -> Stamp:
    """Return the stamp of a file as it is now."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def is_state(path: str | PurePosixPath) -> bool:
    """Whether a file of this path is a checkpoint state file."""
    return PurePosixPath(path).name == _STATE_FILE


def is_part(path: str) -> bool:
    """Whether a file of this path is a part of a checkpoint."""
    return _PART.search(path) is not None
