"""Limits of control groups, as files of made-up containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving import machine

ALL_CPUS = len(os.sched_getaffinity(0))


def group(root: Path, files: dict[str, str], own: str) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "groups" / name).write_text(text + "\n")
    (root / "own").write_text(own + "\n")
    return root / "groups", root / "own"


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ({"memory.max": "536870912"}, "0::/"),
        ({"memory.max": "536870912"}, "0::/kubepods/pod1/container"),
        ({"pods/memory.max": "536870912", "pods/one/memory.max": "max"}, "0::/pods/one"),
        ({"memory/memory.limit_in_bytes": "536870912"}, "4:memory:/docker/of-the-host"),
        (
            {
                "memory/a/memory.limit_in_bytes": "536870912",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            "7:pids:/b\n4:memory:/a\n0::/",
        ),
    ],
)
def test_the_memory_limit_is_the_containers(
    tmp_path: Path, files: dict[str, str], own: str
) -> None:
    assert machine.memory_limit(*group(tmp_path, files, own)) == 2**29


def test_without_a_limit_it_is_the_machines_memory(tmp_path: Path) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.memory_limit(*group(tmp_path, {"memory.max": "max"}, "0::/")) == memory
    assert machine.memory_limit(tmp_path / "none", tmp_path / "none") == memory


@pytest.mark.parametrize(
    ("files", "own", "count"),
    [
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"cpu.max": "100000 100000"}, "0::/x", 1),
        ({"cpu.max": "max 100000"}, "0::/", ALL_CPUS),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "90000"}, "2:cpu,cpuacct:/", ALL_CPUS),
        (
            {"cpu/cpu.cfs_quota_us": "90000", "cpu/cpu.cfs_period_us": "100000"},
            "2:cpu:/",
            1,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "2:cpu:/", ALL_CPUS),
    ],
)
def test_processors_are_counted_as_the_container_may_use_them(
    tmp_path: Path, files: dict[str, str], own: str, count: int
) -> None:
    assert machine.cpus(*group(tmp_path, files, own)) == count
