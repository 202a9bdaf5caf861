"""The front end's code is Go, and so are its own tests: they are run from here."""

import os
import subprocess

import pytest

from local.build.programs import FRONTEND
from local.build.toolchain import Toolchain
from local.home import Home


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_own_tests_pass() -> None:
    toolchain = Toolchain(Home.from_environment())
    done = subprocess.run(
        [toolchain.go, "test", "./..."],
        cwd=FRONTEND.folder,
        env={**os.environ, **toolchain.environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
