"""The pods' control group, in a hierarchy of version 2 of this kernel's own.

Not here: version 1, which the tests on a real cluster use on machines that have it.
"""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from local.machine.cgroups import CGROUP, OTHERS, ControlGroup
from local.machine.checks import MachineError
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hierarchy(tmp_path_factory):
    """The root of version 2: an ordinary machine's, or the second hierarchy beside version 1."""
    if os.geteuid() != 0:
        pytest.skip("control groups need root")
    folder = tmp_path_factory.mktemp("cgroup2")
    if subprocess.run(["mount", "-t", "cgroup2", "none", folder], capture_output=True).returncode:
        pytest.skip("this machine mounts no cgroup2")
    try:
        if not (folder / "cgroup.controllers").read_text().split():
            pytest.skip("all controllers of this machine are in version 1")
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def root(hierarchy):
    """A group like a container's root group: not the machine's own, with processes in it."""
    control = hierarchy / "cgroup.subtree_control"
    before, group = control.read_text().split(), hierarchy / f"test-{os.getpid()}"
    controllers = (hierarchy / "cgroup.controllers").read_text().split()
    control.write_text(" ".join(f"+{name}" for name in controllers))
    group.mkdir()
    yield group

    def is_gone() -> bool:
        for process in pids(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, 9)
        # The kernel lets go of the dead a moment after their end.
        with contextlib.suppress(OSError):
            os.rmdir(group)
        return not group.exists()

    eventually(is_gone)
    # A cluster that has come meanwhile uses them.
    if not list(hierarchy.glob(f"{CGROUP}*")):
        for name in set(controllers) - set(before):
            # Busy: somebody hands it further down.
            with contextlib.suppress(OSError):
                control.write_text(f"-{name}")


@pytest.fixture
def record(tmp_path):
    return tmp_path / "record"


def pids(group: Path) -> list[int]:
    return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]


@pytest.fixture
def process(root):
    """A process in the root group."""
    with subprocess.Popen(["sleep", "600"]) as process:
        (root / "cgroup.procs").write_text(str(process.pid))
        yield process
        process.kill()


def handed_down(group):
    return (group / "cgroup.subtree_control").read_text().split()


def test_a_container_s_processes_make_room_and_come_back(root, record, process):
    """Symptom otherwise: OSError EBUSY when the root group's controllers are handed down."""
    controllers = (root / "cgroup.controllers").read_text().split()
    group = ControlGroup("dlstack-1", root, record)
    group.prepare()
    assert handed_down(root) == handed_down(root / "dlstack-1") == controllers
    assert pids(root) == []
    assert pids(root / OTHERS) == [process.pid]
    group.prepare()
    group.remove()
    assert handed_down(root) == []
    assert pids(root) == [process.pid]
    assert [path.name for path in root.iterdir() if path.is_dir()] == []
    assert not record.exists()


def test_the_last_of_two_clusters_undoes_what_the_first_one_changed(root, record, process):
    one, two = (ControlGroup(name, root, record) for name in ("dlstack-1", "dlstack-2"))
    one.prepare()
    two.prepare()
    one.remove()
    assert handed_down(root)
    assert pids(root) == []
    two.remove()
    assert handed_down(root) == []
    assert pids(root) == [process.pid]


def test_what_was_handed_down_before_stays(root, record):
    controllers = (root / "cgroup.controllers").read_text().split()
    (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
    group = ControlGroup("dlstack-1", root, record)
    group.prepare()
    group.remove()
    assert handed_down(root) == controllers


def test_controllers_that_a_new_group_may_use_stay(root, record, process, capsys):
    group = ControlGroup("dlstack-1", root, record)
    group.prepare()
    (root / "of-somebody").mkdir()
    group.remove()
    assert handed_down(root)
    assert f"processes stay in {root / OTHERS}" in capsys.readouterr().err
    (root / "of-somebody").rmdir()
    for name in handed_down(root):
        (root / "cgroup.subtree_control").write_text(f"-{name}")
    (root / "cgroup.procs").write_text(str(process.pid))
    (root / OTHERS).rmdir()


def test_the_record_of_an_earlier_boot_counts_for_nothing(root, record):
    record.write_text('{"boot": "earlier", "controllers": ["cpu"], "groups": []}')
    group = ControlGroup("dlstack-1", root, record)
    group.prepare()
    group.remove()
    assert handed_down(root) == []


def test_processes_in_the_group_end(root, record):
    group = ControlGroup("dlstack-1", root, record)
    group.prepare()
    pod = root / "dlstack-1" / "pod"
    pod.mkdir()
    with subprocess.Popen(["sleep", "600"]) as process:
        (pod / "cgroup.procs").write_text(str(process.pid))
        group.end_processes(1)
        assert process.wait(60)
    group.remove()
    assert not (root / "dlstack-1").exists()


def test_a_hierarchy_that_is_only_read_is_named_with_the_way_out(root, record):
    subprocess.run(["mount", "--bind", root, root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
        with pytest.raises(MachineError, match=f"{root}.*Read-only file system.*--privileged"):
            ControlGroup("dlstack-1", root, record).prepare()
    finally:
        subprocess.run(["umount", root], check=True)
