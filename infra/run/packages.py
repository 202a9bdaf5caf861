"""The Python packages that pods run: the checksums of their files, and the archive they travel in.

Only their files are read; nothing of them is imported.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pulumi

from . import checksums, local_files
from .line_ends import open_with_lf

REPOSITORY = Path(__file__).parents[2]

_LEFT_OUT = {"training": {"mnist", "datasets", "trying"}}
"""Folders of a package that pods don't get: commands for a person's machine, and the example, which
is a code folder like any other: uploaded, and part of a run's hash as its code."""

_SUFFIXES = frozenset({".py", ".html", ".js", ".css", ".svg", ".png"})
"""Of what pods import or serve. What else lies there decides nothing: lists of requirements, notes,
and what editors, patches and merges leave."""

_MAX_BYTES = 700 * 1024
"""Of an archive: in base64 it stays below the 1 MiB that Kubernetes takes of a ConfigMap."""


def read(name: str) -> dict[str, str]:
    """Return relative path -> SHA-256 of the files of the package `name` that pods get."""
    left_out = _LEFT_OUT.get(name, set())

    def wanted(path: str, folder: bool) -> bool:
        if folder:
            return path not in left_out and not path.startswith(".")
        return os.path.splitext(path)[1] in _SUFFIXES

    files = checksums.code(REPOSITORY / name, "The package", wanted)
    if (size := len(archive(name, files))) > _MAX_BYTES:
        raise pulumi.RunError(
            f"The archive of the package '{REPOSITORY / name}' has {size:,} bytes, but a ConfigMap "
            f"has room for {_MAX_BYTES:,}. Move big files out of the package."
        )
    return files


def archive(name: str, files: Mapping[str, str]) -> bytes:
    """Return a zip archive that Python can import the package `name` from.

    Args:
        name: of the package, which is a folder of this checkout.
        files: relative path -> SHA-256, from `read`. The same files make the same archive.

    Raises:
        pulumi.RunError: a file is not what it was when `read` read it.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, sha256 in sorted(files.items()):
            content = _content(local_files.find(REPOSITORY / name, path))
            if hashlib.sha256(content).hexdigest() != sha256:
                raise pulumi.RunError(
                    f"The file '{REPOSITORY / name / path}' was changed while Pulumi ran. Run the "
                    "command again."
                )
            archive.writestr(
                # Of 1980, whenever the file was written.
                zipfile.ZipInfo(f"{name}/{path}"),
                content,
                zipfile.ZIP_DEFLATED,
                9,
            )
    return buffer.getvalue()


def _content(path: Path) -> bytes:
    try:
        with open_with_lf(path) as file:
            return file.read()
    except OSError as exc:
        raise pulumi.RunError(
            f"The file '{path}' can't be read: {exc.strerror}. Put it back, and run the command "
            "again."
        ) from exc
