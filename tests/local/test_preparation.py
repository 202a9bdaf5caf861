"""What runs in the background of `up`: beside the rest of it, and ended with it."""

import threading
import time
from types import SimpleNamespace

import pytest

from local import preparation
from local.build.programs import KUBERNETES
from local.console import LocalError
from local.home import Home
from local.machine.processes import run_logged


@pytest.fixture
def home(tmp_path):
    (tmp_path / "cache" / "mnist").mkdir(parents=True)
    return Home(tmp_path)


def use(monkeypatch, make):
    programs = SimpleNamespace(
        is_there=lambda _: False, make=make, download_modules=lambda *_: None
    )
    monkeypatch.setattr(preparation, "programs_of", lambda _: programs)


def test_programs_are_made_while_the_rest_goes_on(home, monkeypatch):
    went_on, made = threading.Event(), threading.Event()

    def make(*programs):
        assert programs == (KUBERNETES,) and went_on.wait(30)
        made.set()

    use(monkeypatch, make)
    with preparation.begun(home, [KUBERNETES], None):
        went_on.set()
    assert made.is_set()


def test_packages_of_the_image_are_not_fetched_for_an_image_that_is_built(home, monkeypatch):
    fetched = []
    for is_built in (True, False):
        images = SimpleNamespace(
            is_runtime_built=lambda is_built=is_built: is_built,
            download_wheels=lambda: fetched.append("wheels"),
        )
        with preparation.begun(home, [], images):
            pass
        assert fetched == ([] if is_built else ["wheels"])


def test_what_runs_is_ended_when_the_rest_fails(home, monkeypatch, tmp_path):
    running = threading.Event()

    def make(*_):
        running.set()
        run_logged(["sleep", "60"], tmp_path / "log")

    use(monkeypatch, make)
    begun = time.monotonic()
    with (
        pytest.raises(LocalError, match="a package is missing"),
        preparation.begun(home, [KUBERNETES], None),
    ):
        assert running.wait(30)
        while not preparation.processes._logged:
            time.sleep(0.01)
        raise LocalError("a package is missing.", "")
    while preparation.processes._logged and time.monotonic() - begun < 30:
        time.sleep(0.01)
    assert time.monotonic() - begun < 30


def test_a_failure_is_left_to_whoever_needs_the_part(home, monkeypatch):
    def make(*_):
        raise LocalError("the module proxy is away.", "")

    use(monkeypatch, make)
    with preparation.begun(home, [KUBERNETES], None):
        pass
