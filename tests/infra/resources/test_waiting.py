"""What a wait tells, and when it ends."""

import pytest

from infra.cluster.api import NoAnswer
from infra.cluster.messages import Trouble
from infra.resources import engine
from infra.resources.waiting import Waiting

FULL = Trouble("no node has room", "Add one.", hopeless=False)
REFUSED = Trouble("a policy refuses the pod", "Ask for leave.", hopeless=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(engine, "tell", lines.append)
    return lines


def test_each_reason_is_told_once_until_it_changes(told: list[str]) -> None:
    waiting = Waiting("The Job 'a'", 60)
    assert [waiting.sees(one) for one in (None, FULL, FULL, None, FULL)] == [True] * 5
    assert told == ["The Job 'a' waits: no node has room. Add one."] * 2


def test_what_is_hopeless_ends_the_wait_at_the_second_look(told: list[str]) -> None:
    waiting = Waiting("The Job 'a'", 60)
    assert [waiting.sees(one) for one in (REFUSED, FULL, REFUSED, REFUSED)] == [
        True,
        True,
        True,
        False,
    ]
    assert waiting.trouble == REFUSED


def test_a_cluster_may_be_away_for_a_while() -> None:
    error = NoAnswer("away")
    with pytest.raises(NoAnswer) as raised:
        Waiting("The Job 'a'", 0).outlives(error)
    assert raised.value is error
