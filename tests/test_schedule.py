"""In which order and beside which others tests run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.schedule import choose, on_cluster, place, scope

SECOND, APART = "tests/cluster/on_three_nodes/", "tests/cluster/on_own_machine/test_machine.py"
STACK, DRIFT = "tests/cluster/with_one_stack/", "tests/cluster/on_bad_days/test_drift.py"
REST = "tests/serving/ports"
WAITING = [SECOND, STACK, DRIFT, APART, REST]


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("tests/cluster/without_stack/test_platform.py::test_a", SECOND),
        (f"{STACK}test_runs.py::test_a[x]", STACK),
        (f"{DRIFT}::TestA::test_b", DRIFT),
        (f"{REST}/test_grpc.py::test_a", REST),
        ("tests/client/calls/test_client.py::test_a", "tests/client"),
        ("tests/test_docs.py::test_a[a/b.md]", "tests/test_docs.py"),
    ],
)
def test_what_runs_together_is_a_folder_or_a_file(test: str, found: str) -> None:
    assert scope(test) == found


def test_what_takes_long_comes_first_and_what_is_short_last() -> None:
    tests = ["tests/test_docs.py::test_a", *reversed(WAITING)]
    assert sorted(tests, key=place) == [*WAITING, "tests/test_docs.py::test_a"]


@pytest.mark.parametrize(
    ("waiting", "chained", "chosen"),
    [
        (WAITING, True, SECOND),
        (WAITING[1:], True, STACK),
        (WAITING[3:], True, APART),
        (WAITING, False, REST),
        (WAITING[:4], False, APART),
        (WAITING[:3], False, None),
        ([], True, None),
    ],
)
def test_two_processes_have_the_clusters_and_the_third_what_needs_none(
    waiting: list[str], chained: bool, chosen: str | None
) -> None:
    assert choose(waiting, chained) == chosen


TREE = (
    *("on_three_nodes/test_a", "on_own_machine/test_b", "with_one_stack/test_c"),
    *("with_one_stack/test_d", "on_bad_days/test_e", "with_own_stacks/test_f"),
)
CONFTEST = """
import sys
sys.path.insert(0, ROOT)
from tests import schedule

def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return schedule.Schedule(config, log)

def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: schedule.place(item.nodeid))
"""
TEST = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(number, worker_id):
    with open("notes", "a") as notes:
        notes.write(f"{worker_id} {__file__}\\n")
"""


def test_all_run_once_and_two_of_three_processes_have_the_cluster(tmp_path: Path) -> None:
    files = [*(f"cluster/{name}" for name in TREE), "serving/ports/test_g", "tools/test_h"]
    for name in files:
        file = tmp_path / "tests" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TEST)
    root = str(Path(__file__).parents[1])
    (tmp_path / "conftest.py").write_text(CONFTEST.replace("ROOT", repr(root)))
    flags = ["-q", "-n3", "--import-mode=importlib", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert len(ran) == 4 * len(files)
    ids = [(worker, str(Path(file).relative_to(tmp_path))) for worker, file in ran]
    assert len({worker for worker, test in ids if on_cluster(test)}) <= 2
    assert len(set(ids)) == len(files), "each file in one process"
