"""One stack for all modules that need one, and not a new one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY
from tests.cluster.conftest import Deployment, new_stack

FIRST = "test_logs_and_status.py"
"""It tells what is seen of a stack before and during its first `pulumi up`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    ordered = iter(sorted(here, key=lambda item: item.path.name != FIRST))
    items[:] = [next(ordered) if item in here else item for item in items]


@pytest.fixture(scope="session")
def stack(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-test") as deployment:
        # Beside another stack's training, which reserves a core, there is none left.
        reserved = ("flavours.shared.cpu=100m", "flavours.shared.memory=1Gi")
        deployment.configure(*reserved, "flavour=shared")
        yield deployment


@pytest.fixture(scope="module")
def deployment(stack: Deployment) -> Iterator[Deployment]:
    """The stack, with the configuration of a new one; what a module before deployed is there."""
    settings = REPOSITORY / f"Pulumi.{stack.name}.yaml"
    new = settings.read_text()
    yield stack
    settings.write_text(new)
