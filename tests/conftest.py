"""What concerns all tests: a fixture of several folders, who runs what, and the cluster's end."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling

from local.__main__ import Platform
from local.home import REPOSITORY
from tests.seaweedfs import SeaweedFS

CLUSTER = "tests/cluster/"
LONGEST_FIRST = (
    f"{CLUSTER}with_own_stacks/",
    f"{CLUSTER}killed/",
    f"{CLUSTER}on_bad_days/",
    f"{CLUSTER}with_one_stack/",
    "tests/serving/",
    "tests/training/",
    "tests/client/",
    "tests/infra/",
)
CHAINS = {
    f"{CLUSTER}killed": f"{CLUSTER}with_own_stacks",
    f"{CLUSTER}on_bad_days": f"{CLUSTER}with_one_stack",
}
"""Folders that run in the process of another one, before or after it."""
LAST = f"{CLUSTER}without_stack/"
"""Waits for the other tests on the cluster: it ends processes that these need."""


@pytest.fixture(scope="session")
def object_store() -> Iterator[SeaweedFS]:
    """A running S3-compatible store. Tests make their own buckets in it."""
    with SeaweedFS() as store:
        yield store


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-kills",
        action="store_true",
        help="kill `pulumi` in each way at each moment (tests/cluster/killed): an hour",
    )


class ByFolder(LoadScopeScheduling):
    """With `-n`: hands out whole folders of `tests/`, so that what a folder's tests share is made
    once.

    The tests on the cluster are two chains (`tests/cluster/conftest.py`): they wait most of the
    time, for each other's pods too, and the other tests run meanwhile. A third chain would find no
    room on the node.
    """

    def _split_scope(self, nodeid: str) -> str:
        depth = 3 if nodeid.startswith(CLUSTER) else 2
        folder = "/".join(nodeid.partition("::")[0].split("/")[:depth])
        return CHAINS.get(folder, folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFolder:
    config.option.loadscopereorder = False  # The order is that of the next function.
    return ByFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders that take longest."""

    def place(item: pytest.Item) -> int:
        if item.nodeid.startswith(LAST):
            return len(LONGEST_FIRST) + 1
        places = (i for i, folder in enumerate(LONGEST_FIRST) if item.nodeid.startswith(folder))
        return next(places, len(LONGEST_FIRST))

    items.sort(key=place)


class StopCluster:
    """Stops the embedded cluster after the last test if tests have started it.

    In the process that all others report to: with `-n` the one that runs the tests is killed
    seconds after Ctrl-C.
    """

    def __init__(self) -> None:
        platform = Platform()
        self._cluster = platform.cluster
        self._not_ours = platform.brought_kubeconfig is not None or self._cluster.is_running()
        self._tested = False

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tested |= nodeid.startswith(CLUSTER)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._tested and not self._not_ours and self._cluster.is_running():
            command = [sys.executable, "-m", "local", "stop"]
            # It says itself why it fails.
            if subprocess.run(command, cwd=REPOSITORY).returncode:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    # The servers that tests start are this machine's, behind a proxy as well.
    Platform().pass_by_proxies()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(StopCluster())
        # What the tests have started is ended also if they are told to end without a keyboard, or
        # by somebody who had them started with SIGINT ignored, as a script does by `make test &`.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
