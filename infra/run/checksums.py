"""SHA-256 sums of the files in a local folder: what is sent, and what changed."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pulumi

from store.parallel import in_parallel

from .line_ends import open_with_lf
from .local_files import LocalFolder, Wanted

_LARGE_BYTES = 2**20
"""From this size on, files are read by several threads: below it, they cost more than they save."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def code(path: str | Path, what: str, wanted: Wanted | None = None) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file of a folder of source code.

    The same commit has the same ones on every machine: texts are read with LF at the ends of their
    lines, names in Unicode's form NFC, and nobody looks at modes.

    Args:
        path: the folder.
        what: how to call it in an error, such as `dlstack:codeDir`.
        wanted: says which files and folders are sent; all, unless given.

    Raises:
        pulumi.RunError: something in the folder can't be sent, or nothing is there.
    """
    return _sums(_local(path, what, True, wanted), open_with_lf)


def data(path: str | Path, what: str) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file of a data set, byte for byte.

    Args and errors as for `code`.
    """
    return _sums(_local(path, what, False, None), _open)


def _local(path: str | Path, what: str, source: bool, wanted: Wanted | None) -> LocalFolder:
    if wanted is None:
        return LocalFolder(Path(path), what, source)
    return LocalFolder(Path(path), what, source, wanted)


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def _sums(folder: LocalFolder, opened: Callable[[str], BinaryIO]) -> dict[str, str]:
    files = folder.files()
    if not files:
        raise pulumi.RunError(
            f"{folder.what} '{folder.path}' has no files, or all are left out (.dlstackignore). "
            "Put some there, or set it to another folder."
        )

    sums: dict[str, str] = {}
    large = []
    for path, local in files.items():
        try:
            with opened(local) as file:
                content = file.read(_LARGE_BYTES)
        except OSError as exc:
            folder.unreadable(path, exc)
        if content.startswith(_LFS_POINTER):
            raise folder.refusal(
                path, "is a pointer of Git LFS, not the file itself", "Run 'git lfs pull' there."
            )
        if len(content) < _LARGE_BYTES:
            sums[path] = hashlib.sha256(content).hexdigest()
        else:
            large.append((path, local))

    def sha256(item: tuple[str, str]) -> tuple[str, str]:
        path, local = item
        try:
            with opened(local) as file:
                digest = hashlib.sha256()
                while content := file.read(_LARGE_BYTES):
                    digest.update(content)
                return path, digest.hexdigest()
        except OSError as exc:
            folder.unreadable(path, exc)

    sums.update(in_parallel(sha256, large))
    return {path: sums[path] for path in files}
