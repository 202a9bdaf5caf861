"""TensorFlow's file `checkpoint`, which names the checkpoints beside it."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Stamp = tuple[int, int]
"""What tells that a file has changed: its size in bytes, and its modification time in ns."""

_STATE_FILE = "checkpoint"
# `step-500.index`, `step-500.data-00000-of-00001`.
_PART = re.compile(r"\.(index|data-\d+-of-\d+)$")
# A protocol buffer as text: `model_checkpoint_path: "step-500"`. What is not ASCII is escaped.
_NAMED_CHECKPOINT = re.compile(
    rb'^(?:all_)?model_checkpoint_paths?: "((?:[^"\\\n]|\\.)+)"$', re.MULTILINE
)
_MOST_BYTES = 2**20
"""Of a state file. Other programs have files of this name, too, of many gigabytes (PyTorch)."""


@dataclass(frozen=True)
class CheckpointState:
    """A checkpoint state file as it was at one moment."""

    stamp: Stamp
    content: bytes
    """As it goes to the store."""
    checkpoints: frozenset[str]
    """Paths of the checkpoints that it names, relative to the mirrored folder: `x/step-500`."""

    @classmethod
    def read(cls, file: Path, path: PurePosixPath) -> "CheckpointState | None":
        """Read `file`, whose path in the mirrored folder is `path`; None: it is something else."""
        stamp = stamp_of(file)
        if stamp[0] > _MOST_BYTES or not file.is_file():
            return None
        content = _relative(file.read_bytes(), file.parent)
        names = [_unescaped(name) for name in _NAMED_CHECKPOINT.findall(content)]
        if not names:
            return None
        return cls(stamp, content, frozenset((path.parent / name).as_posix() for name in names))


def _relative(content: bytes, folder: Path) -> bytes:
    """Return a state that names what lies beside it without its folder.

    TensorFlow 1's `Saver` names that, too; in another pod it is another one.
    """
    folders = {f"{known.as_posix()}/" for known in (folder, folder.resolve())}

    def renamed(found: re.Match[bytes]) -> bytes:
        name = _unescaped(found[1])
        for known in folders:
            if name.startswith(known):
                return found[0].replace(found[1], _escaped(name.removeprefix(known)))
        return found[0]

    return _NAMED_CHECKPOINT.sub(renamed, content)


def _escaped(text: str) -> bytes:
    """Return a text as it is in a protocol buffer's text."""
    return b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte not in b"\"'\\" else b"\\%03o" % byte
        for byte in text.encode(errors="surrogateescape")
    )


def _unescaped(name: bytes) -> str:
    found: bytes = codecs.escape_decode(name)[0]
    return found.decode(errors="surrogateescape")


def stamp_of(file: Path) -> Stamp:
    """Return the stamp of a file as it is now."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def is_state(path: str | PurePosixPath) -> bool:
    """Whether a file of this path is called as a checkpoint state file is."""
    return PurePosixPath(path).name == _STATE_FILE


def is_part(path: str) -> bool:
    """Whether a file of this path is a part of a checkpoint."""
    return _PART.search(path) is not None
