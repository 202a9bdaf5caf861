"""A cluster of an earlier version makes place for one of this; tests/cluster/ has real ones."""

from pathlib import Path

import pytest

from local.build.images import Images
from local.build.programs import Programs
from local.home import Home
from local.kubernetes import former
from local.kubernetes.cluster import PROGRAMS, Cluster


class Stopped(Exception):
    pass


def test_an_earlier_version_serves_until_all_that_takes_its_place_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom otherwise: minutes without an answer, while Kubernetes was compiled."""
    done: list[object] = []

    def stop(_: Cluster) -> None:
        done.append("stopped")
        raise Stopped

    monkeypatch.setattr(former, "is_there", lambda _: True)
    monkeypatch.setattr(Programs, "make", lambda _, *programs: done.append(programs))
    monkeypatch.setattr(Images, "make", lambda _: done.append("images"))
    monkeypatch.setattr(Cluster, "stop", stop)
    with pytest.raises(Stopped):
        Cluster(Home(tmp_path)).start_runtime()
    assert done == [PROGRAMS, "images", "stopped"]
