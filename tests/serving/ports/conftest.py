"""Each test of a server's ports runs twice: by the front end of Python, and by the native one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.frontend import program
from tests.serving_fixtures import FRONT_END


@pytest.fixture(scope="session", params=["python", "native"], autouse=True)
def front_end(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which front end servers have that are started meanwhile."""
    flags = f"--front_end={request.param}"
    if request.param == "native":
        flags += f" --front_end_program={program()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FRONT_END, flags)
        yield request.param


@pytest.fixture
def only_native(front_end: str) -> None:
    """Skip the test for the front end of Python."""
    if front_end != "native":
        pytest.skip("of the native front end")
