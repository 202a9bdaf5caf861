"""Which answers of a store are waited for. That the processes wait is tested with them."""

from types import SimpleNamespace

import pytest

from store import patience
from store.errors import NoBucket, NotTrusted, StoreError, Unreachable, WrongCredentials
from store.patience import Patience


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    for name in ("_FIRST_PAUSE_SECONDS", "_LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(patience, name, 0.01)


class Store:
    """Fails so many times, then answers."""

    def __init__(self, error, times):
        self.asked = 0
        self._error = error
        self._times = times

    def answer(self):
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return "here"


@pytest.mark.parametrize(
    "error", [Unreachable("no route."), StoreError("answers InternalError: not ready.")]
)
def test_a_store_that_is_being_started_is_waited_for_with_a_word(error, monkeypatch):
    said, now = [], [0.0]
    store = Store(error, 3)
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def wait(_):
        now[0] += 1

    assert Patience(60, said.append).ask(store.answer, wait) == "here"
    assert store.asked == 4
    assert said == [
        f"{error} Trying again for 60 s.",
        "The object store answers again, after 3 s.",
    ]


@pytest.mark.parametrize(
    "error", [NoBucket("none"), NotTrusted("who?"), WrongCredentials("no")], ids=repr
)
def test_what_a_store_refuses_is_told_at_once(error):
    store = Store(error, 3)
    with pytest.raises(type(error)):
        Patience(60, print).ask(store.answer)
    assert store.asked == 1


def test_the_seconds_are_those_of_the_process_and_not_of_each_request():
    waiting = Patience(0.1, lambda _: None)
    with pytest.raises(Unreachable):
        waiting.ask(Store(Unreachable("away"), 1000).answer)
    late = Store(Unreachable("away"), 1)
    with pytest.raises(Unreachable):
        waiting.ask(late.answer)
    assert late.asked == 1
