"""Other machines, and what an examination finds there."""

import pytest

from tests.local.machine.doctor.fake_machine import Fake


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path / "root")
