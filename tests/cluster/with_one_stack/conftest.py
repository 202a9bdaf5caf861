"""One stack for all modules that need one, and not a new one."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from local.__main__ import Platform
from tests.cluster.conftest import SHARED_CORES, Deployment, configuration_kept, new_stack
from tests.training.agent.test_packages import Index

FIRST = "test_logs_and_status.py"
"""It tells what is seen of a stack before and during its first `pulumi up`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    ordered = iter(sorted(here, key=lambda item: item.path.name != FIRST))
    items[:] = [next(ordered) if item in here else item for item in items]


@pytest.fixture(scope="session")
def stack(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-test", pauses=True, destroyed=True) as deployment:
        # Beside another stack's training, which reserves a core, there is none left.
        deployment.configure(*SHARED_CORES)
        yield deployment


@pytest.fixture(scope="module")
def deployment(stack: Deployment) -> Iterator[Deployment]:
    """The stack, with the configuration of a new one; what a module before deployed is there."""
    with configuration_kept(stack):
        yield stack


@pytest.fixture
def index(tmp_path: Path, deployment: Deployment) -> Iterator[Index]:
    """A package index on this machine, which pods reach."""
    platform = deployment.platform
    if platform.brought_kubeconfig is not None:
        pytest.skip("needs the embedded cluster, whose pods reach this machine")
    found = Index(tmp_path / "index")
    found.folder.mkdir()
    address = str(platform.cluster.ranges.machine)
    handler = partial(SimpleHTTPRequestHandler, directory=str(found.folder))
    found.server = ThreadingHTTPServer((address, 0), handler)
    found.url = f"http://{address}:{found.server.server_port}/"
    Thread(target=found.server.serve_forever, daemon=True).start()
    yield found
    found.close()
