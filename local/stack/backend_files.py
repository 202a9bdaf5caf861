"""Pulumi's back end of files, after a `pulumi` that was killed while it wrote one."""

import time
from pathlib import Path

WRITING_SECONDS = 2.0
"""Far longer than a write takes: an empty file of that age is nobody's at work."""


def mend(folder: Path) -> list[Path]:
    """Remove the empty files of attributes below a back end's folder.

    Pulumi writes one beside each of its files, and does without it. One that is empty fails every
    command on that stack, and `pulumi stack ls` for all stacks ("error: EOF").

    Returns:
        What was removed.
    """
    removed = []
    for path in folder.glob(".pulumi/**/*.attrs"):
        try:
            about = path.stat()
            if about.st_size == 0 and about.st_mtime < time.time() - WRITING_SECONDS:
                path.unlink()
                removed.append(path)
        except FileNotFoundError:  # Of a lock that was given back.
            pass
    return removed
