"""Copies of parts of the repository, for tests that change them."""

import shutil
from pathlib import Path

from local.home import REPOSITORY


def copy_part(part: str, target: Path) -> None:
    """Copy a folder, without what other tests' processes write and rename meanwhile."""
    shutil.copytree(REPOSITORY / part, target, ignore=shutil.ignore_patterns("__pycache__"))
