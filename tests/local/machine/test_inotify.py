"""Limits of the whole machine come back: told by a folder in the place of /proc/sys/fs/inotify."""

import pytest

from local.machine.inotify import Limits


@pytest.fixture
def limits(tmp_path):
    settings = tmp_path / "inotify"
    settings.mkdir()
    (settings / "max_user_instances").write_text("128\n")
    (settings / "max_user_watches").write_text("524288\n")
    return Limits(settings, tmp_path / "record")


def values(limits):
    return [
        int((limits.settings / f"max_user_{name}").read_text()) for name in ("instances", "watches")
    ]


def test_low_limits_are_raised_and_come_back(limits):
    limits.raise_low()
    assert values(limits) == [512, 524288]
    limits.raise_low()
    limits.restore()
    assert values(limits) == [128, 524288]
    assert not limits.record.exists()
    limits.restore()


def test_what_somebody_has_set_meanwhile_stays(limits):
    limits.raise_low()
    (limits.settings / "max_user_instances").write_text("8192\n")
    limits.restore()
    assert values(limits) == [8192, 524288]
