"""What concerns all tests: a fixture of several folders, who runs what, and the cluster's end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY, Home
from local.machine.processes import started_in
from tests import schedule
from tests.cluster.second_cluster import home_beside
from tests.schedule import CLUSTER
from tests.seaweedfs import SeaweedFS


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> schedule.Schedule:
    config.option.loadscopereorder = False  # The order is that of the next function.
    return schedule.Schedule(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: schedule.place(item.nodeid))
    for item in items:
        # What takes half a minute alone takes minutes beside all that CI runs.
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(400))


class StopClusters:
    """Stops the embedded clusters after the last test if tests have started them.

    In the process that all others report to: with `-n` the one that runs the tests is killed
    seconds after Ctrl-C.
    """

    def __init__(self) -> None:
        platform = Platform()
        homes = [platform.home, home_beside(platform.home)]
        brought = platform.brought_kubeconfig is not None
        self._ours = [] if brought else [home for home in homes if not is_running(home)]
        self._tested = False

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tested |= nodeid.startswith(CLUSTER)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for home in self._ours if self._tested else ():
            if is_running(home):
                # The second one has another network than the variables may say.
                others = {n: v for n, v in os.environ.items() if n != "DLSTACK_NETWORK"}
                command = [sys.executable, "-m", "local", "stop"]
                environment = {**others, "DLSTACK_HOME": str(home.root)}
                # It says itself why it fails.
                if subprocess.run(command, cwd=REPOSITORY, env=environment).returncode:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def is_running(home: Home) -> bool:
    """Whether any process of a home's cluster is alive."""
    return bool(started_in(home.platform))


def pytest_configure(config: pytest.Config) -> None:
    # The servers that tests start are this machine's, behind a proxy as well.
    Platform().pass_by_proxies()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(StopClusters())
        # What the tests have started is ended also if they are told to end without a keyboard, or
        # by somebody who had them started with SIGINT ignored, as a script does by `make test &`.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
