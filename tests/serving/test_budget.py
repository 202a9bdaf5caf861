"""The memory that all requests hold together."""

from __future__ import annotations

import threading

import pytest

from serving import machine
from serving.budget import Budget
from serving.errors import Code, ServingError, TooLarge


def test_what_does_not_fit_beside_others_is_refused_until_they_are_done() -> None:
    budget = Budget(100)
    with budget.hold() as first, budget.hold() as second:
        first.add(60)
        with pytest.raises(ServingError) as caught:
            second.add(41)
        assert caught.value.code == Code.RESOURCE_EXHAUSTED
        assert caught.value.http_status == 429
        assert caught.value.message == (
            "This request needs 41 bytes of memory, and others hold 60 bytes of the 100 bytes that "
            "the server has for requests (--max_waiting_bytes). Try again later."
        )
        first.close()
        second.add(41)
    assert budget.taken == 0


def test_what_can_never_fit_is_told_so() -> None:
    with Budget(100).hold() as hold:
        hold.add(60)
        with pytest.raises(
            TooLarge, match="needs 101 bytes of memory, and the server has 100"
        ) as e:
            hold.add(41)
        assert (e.value.code, e.value.http_status) == (Code.INVALID_ARGUMENT, 413)


def test_what_is_there_already_is_counted_and_not_refused() -> None:
    budget = Budget(100)
    with budget.hold() as first, budget.hold() as second:
        first.note(500)
        with pytest.raises(ServingError):
            second.add(1)
    assert budget.taken == 0


def test_threads_take_and_give_back_without_losing_count() -> None:
    budget = Budget(8)

    def work() -> None:
        for _ in range(2000):
            with budget.hold() as hold:
                hold.add(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.taken == 0


def test_by_itself_it_is_half_of_what_models_leave_of_the_containers_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda: 2 * 2**30)
    monkeypatch.setattr(machine, "memory_used", lambda: 2**29)
    budget = Budget()
    assert budget.most == 3 * 2**28
    monkeypatch.setattr(machine, "memory_used", lambda: 2 * 2**30)
    budget.fit()
    assert budget.most == 2**26, "small requests are always answered"


def test_it_does_not_shrink_by_what_requests_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda: 2 * 2**30)
    monkeypatch.setattr(machine, "memory_used", lambda: 2**29)
    budget = Budget()
    with budget.hold() as hold:
        hold.add(2**29)
        monkeypatch.setattr(machine, "memory_used", lambda: 2**30 + 2**29)
        budget.fit()
        assert budget.most == 3 * 2**28
