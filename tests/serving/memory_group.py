"""A control group that bounds the memory of a process, as Kubernetes bounds that of a container."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import eventually

_VERSION_1 = Path("/sys/fs/cgroup/memory")
_VERSION_2 = Path("/sys/fs/cgroup")


class MemoryGroup:
    """What a process starts is in its group as well."""

    def __init__(self, folder: Path, version: int) -> None:
        self._folder = folder
        self._version = version
        self.join = f"echo $$ > {folder}/cgroup.procs"
        """A shell command: puts the shell into the group."""

    @property
    def peak(self) -> int:
        """Return the most bytes that its processes have had, files that they read included."""
        name = "memory.max_usage_in_bytes" if self._version == 1 else "memory.peak"
        return int((self._folder / name).read_text())


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """Make a control group with a limit in bytes; skip the test where that isn't allowed."""
    version, root = (1, _VERSION_1) if _VERSION_1.is_dir() else (2, _VERSION_2)
    folder = root / f"dlstack-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        name = "memory.limit_in_bytes" if version == 1 else "memory.max"
        try:
            (folder / name).write_text(str(limit))
        except OSError as error:
            pytest.skip(f"no memory can be limited here: {error}")
        yield MemoryGroup(folder, version)
    finally:
        # What a process has started may end a moment after it.
        eventually(lambda: _removed(folder))


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
