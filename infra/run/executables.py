"""The programs of a code folder: files that may be run. Buckets know no modes."""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pulumi

from . import local_files

_PROGRAM = (b"#!", b"\x7fELF")
"""What one begins with. Where a file system knows no modes, everything may be run."""

_MAX_BYTES = 16 * 1024
"""Of all paths, which go into the Job's command line."""


def among(folder: Path, code: Iterable[str]) -> list[str]:
    """Return the paths of those files of `code` that are programs, in their order."""
    found = []
    for path in sorted(code):
        file = local_files.find(folder, path)
        if stat.S_IMODE(os.stat(file).st_mode) & stat.S_IXUSR:
            with file.open("rb") as opened:
                if opened.read(4).startswith(_PROGRAM):
                    found.append(path)
    if len(json.dumps(found)) > _MAX_BYTES:
        pulumi.log.warn(
            f"dlstack:codeDir has {len(found)} programs, too many for their modes to be kept. Call "
            "them by their interpreter, as in 'sh run.sh'."
        )
        return []
    return found
