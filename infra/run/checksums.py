"""SHA-256 sums of the files in a local folder: what is sent, and what changed."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import pulumi

from store.parallel import in_parallel

from .hash_cache import HashCache, stamp_of
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
    return _sums(_local(path, what, True, wanted), open_with_lf, "code")


def data(path: str | Path, what: str) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file of a data set, byte for byte.

    Args and errors as for `code`.
    """
    return _sums(_local(path, what, False, None), _open, "data")


def of(folder: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return path -> SHA-256 of some files of a folder, byte for byte. Raises OSError."""
    cache, sums = HashCache(folder, "some"), dict.fromkeys(paths, "")

    def take(path: str) -> None:
        sums[path] = _hashed(path, str(folder / path), _open, cache)

    try:
        in_parallel(take, paths)
    finally:
        cache.save(is_whole=all(sums.values()))
    return sums


def _local(path: str | Path, what: str, source: bool, wanted: Wanted | None) -> LocalFolder:
    if wanted is None:
        return LocalFolder(Path(path), what, source)
    return LocalFolder(Path(path), what, source, wanted)


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def _sums(folder: LocalFolder, opened: Callable[[str], BinaryIO], kind: str) -> dict[str, str]:
    files = folder.files()
    if not files:
        raise pulumi.RunError(
            f"{folder.what} '{folder.path}' has no files, or all are left out (.dlstackignore). "
            "Put some there, or set it to another folder."
        )

    cache = HashCache(folder.path, kind)
    sums: dict[str, str] = {}
    try:
        large = []
        for path, local in files.items():
            known = _small(folder, path, local, opened, cache)
            if known is None:
                large.append((path, local))
            else:
                sums[path] = known
        sums.update(
            in_parallel(lambda item: (item[0], _large(folder, *item, opened, cache)), large)
        )
    finally:
        # Hours of reading may have been cut short.
        cache.save(is_whole=len(sums) == len(files))
    return {path: sums[path] for path in files}


def _small(
    folder: LocalFolder, path: str, local: str, opened: Callable[[str], BinaryIO], cache: HashCache
) -> str | None:
    """Return the SHA-256 of a file that is known or small, else None."""
    try:
        stamp = stamp_of(local)
        if (known := cache.find(path, stamp)) is not None:
            return known
        with opened(local) as file:
            content = file.read(_LARGE_BYTES)
        if content.startswith(_LFS_POINTER):
            raise folder.refusal(
                path, "is a pointer of Git LFS, not the file itself", "Run 'git lfs pull' there."
            )
        if len(content) == _LARGE_BYTES:
            return None
        found = hashlib.sha256(content).hexdigest()
        cache.note(path, local, stamp, found)
        return found
    except OSError as exc:
        folder.unreadable(path, exc)


def _large(
    folder: LocalFolder, path: str, local: str, opened: Callable[[str], BinaryIO], cache: HashCache
) -> str:
    try:
        return _hashed(path, local, opened, cache)
    except OSError as exc:
        folder.unreadable(path, exc)


def _hashed(path: str, local: str, opened: Callable[[str], BinaryIO], cache: HashCache) -> str:
    stamp, digest = stamp_of(local), hashlib.sha256()
    if (known := cache.find(path, stamp)) is not None:
        return known
    with opened(local) as file:
        while content := file.read(_LARGE_BYTES):
            digest.update(content)
    cache.note(path, local, stamp, digest.hexdigest())
    return digest.hexdigest()
