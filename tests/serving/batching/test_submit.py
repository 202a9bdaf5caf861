"""Requests that a thread submits, without an event loop: who calls whom, and when.

The queue alone, with a function in the place of the model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.batching.parameters import BatchingParameters
from serving.batching.queue import NO_DEADLINE, BatchQueue
from serving.batching.scheduler import BatchScheduler
from serving.batching.task import Task
from serving.errors import ServingError
from tests.serving.batching.doubler import LONG_MICROS, Doubler, rows
from tests.waiting import eventually


class Answers:
    """Collects what `done` is called with."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.threads: list[str] = []

    def __call__(self, task: Task) -> None:
        self.tasks.append(task)
        self.threads.append(threading.current_thread().name)

    def values(self, count: int) -> list[Any]:
        """Wait for so many answers, and return outputs or the code of the error of each."""
        eventually(lambda: len(self.tasks) == count)
        return [
            task.error.code.name if task.error else task.result()["y"].ravel().tolist()
            for task in self.tasks
        ]


def submit(
    queue: BatchQueue, done: Callable[[Task], object], *values: float, deadline: float = NO_DEADLINE
) -> Task:
    return queue.submit(rows(*values), ["y"], deadline, done)


def test_what_is_submitted_before_a_flush_runs_as_one(model: Doubler) -> None:
    scheduler = BatchScheduler(1)
    one = BatchQueue(scheduler, model, BatchingParameters())
    other = BatchQueue(scheduler, model, BatchingParameters())
    answers = Answers()
    for n in range(5):
        submit(one, answers, n)
    submit(other, answers, 7)
    assert not model.started.acquire(timeout=0.05), "there may be more"
    scheduler.flush()
    assert answers.values(6) == [[0], [2], [4], [6], [8], [14]]
    assert model.runs == [[0, 1, 2, 3, 4], [7]]
    assert set(answers.threads) == {"batch 0"}


def test_a_full_batch_runs_without_a_flush(model: Doubler) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters(max_batch_size=2))
    answers = Answers()
    submit(queue, answers, 1)
    submit(queue, answers, 2)
    assert answers.values(2) == [[2], [4]]


def test_a_flush_does_not_end_the_wait_for_a_fuller_batch(model: Doubler) -> None:
    scheduler = BatchScheduler(1)
    parameters = BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG_MICROS)
    queue = BatchQueue(scheduler, model, parameters)
    answers = Answers()
    for n in (1, 2):
        submit(queue, answers, n)
        scheduler.flush()
    answers.values(2)
    assert model.runs == [[1, 2]]


def test_what_is_brought_again_does_not_wait_for_a_fuller_batch(model: Doubler) -> None:
    """Symptom: one bad request had those that came with it wait twice."""
    parameters = BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG_MICROS)
    queue = BatchQueue(BatchScheduler(1), model, parameters)
    answers = Answers()
    queue.submit(rows(1), ["y"], NO_DEADLINE, answers, fills=False)
    assert answers.values(1) == [[2]]


def test_the_end_of_a_batch_is_told_after_all_its_answers(model: Doubler) -> None:
    scheduler = BatchScheduler(1)
    queue = BatchQueue(scheduler, model, BatchingParameters())
    answers = Answers()
    seen: list[int] = []
    scheduler.after_batch.append(lambda: seen.append(len(answers.tasks)))
    for n in range(3):
        submit(queue, answers, n)
    scheduler.flush()
    eventually(lambda: seen == [3])


def test_an_answer_that_cannot_be_handed_out_stops_no_other(
    model: Doubler, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = BatchScheduler(1)
    queue = BatchQueue(scheduler, model, BatchingParameters())
    answers = Answers()

    def broken(task: Task) -> None:
        raise OSError("the client has gone")

    submit(queue, broken, 1)
    submit(queue, answers, 2)
    scheduler.flush()
    assert answers.values(1) == [[4]]
    submit(queue, answers, 3)
    scheduler.flush()
    assert answers.values(2) == [[4], [6]]
    assert "the client has gone" in caplog.text


def test_what_is_refused_is_told_at_once_and_never_done(model: Doubler) -> None:
    queue = BatchQueue(BatchScheduler(1), model, BatchingParameters(max_batch_size=1))
    answers = Answers()
    with pytest.raises(ServingError, match="Task size 2 is larger"):
        submit(queue, answers, 1, 2)
    assert not answers.tasks


def test_of_a_batch_only_what_somebody_waits_for_runs(model: Doubler) -> None:
    """One is too late, one is given up while it waits, and one while it runs."""
    scheduler = BatchScheduler(1, clock=lambda: model.now)
    queue = BatchQueue(scheduler, model, BatchingParameters())
    answers = Answers()
    model.hold()
    running = submit(queue, answers, 100)
    scheduler.flush()
    assert model.started.acquire(timeout=30)
    submit(queue, answers, 1, deadline=1)
    given_up = submit(queue, answers, 2)
    submit(queue, answers, 3, deadline=3)
    queue.cancel(given_up)
    assert answers.values(1) == ["CANCELLED"], "at once"
    queue.cancel(given_up)
    queue.cancel(running)
    scheduler.flush()
    model.now = 2
    model.go_on()
    assert sorted(map(str, answers.values(4))) == [
        "CANCELLED",
        "RESOURCE_EXHAUSTED",
        "[200.0]",
        "[6.0]",
    ]
    assert model.runs == [[100], [3]]


def test_a_batch_that_everybody_has_left_runs_nothing(model: Doubler) -> None:
    scheduler = BatchScheduler(1)
    queue = BatchQueue(scheduler, model, BatchingParameters())
    answers = Answers()
    queue.cancel(submit(queue, answers, 1))
    scheduler.flush()
    submit(queue, answers, 2)
    scheduler.flush()
    assert answers.values(2) == ["CANCELLED", [4]]
    assert model.runs == [[2]]


def test_of_a_request_in_parts_that_is_given_up_no_further_part_runs(model: Doubler) -> None:
    parameters = BatchingParameters(
        max_batch_size=6, enable_large_batch_splitting=True, max_execution_batch_size=2
    )
    scheduler = BatchScheduler(1)
    queue = BatchQueue(scheduler, model, parameters)
    answers = Answers()
    model.hold()
    task = submit(queue, answers, *range(6))
    assert model.started.acquire(timeout=30)
    queue.cancel(task)
    model.go_on()
    assert len(answers.values(1)) == 1
    assert model.runs == [[0, 1]]


def test_threads_may_submit_and_flush_side_by_side(model: Doubler) -> None:
    scheduler = BatchScheduler(2)
    queue = BatchQueue(scheduler, model, BatchingParameters(max_batch_size=7))
    answers = [Answers() for _ in range(8)]

    def requests(thread: int) -> None:
        for n in range(200):
            while True:
                try:
                    submit(queue, answers[thread], 1000 * thread + n)
                    break
                except ServingError:  # The queue is full.
                    eventually(lambda: len(queue.line.waiting) < 10)
            scheduler.flush()

    threads = [threading.Thread(target=requests, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, each in enumerate(answers):
        found = np.sort(np.ravel(each.values(200)))
        assert found.tolist() == [2 * (1000 * number + n) for n in range(200)]


def test_a_batch_never_waits_for_those_who_were_just_answered(model: Doubler) -> None:
    scheduler = BatchScheduler(1, clock=lambda: model.now)
    queue = BatchQueue(scheduler, model, BatchingParameters())
    answers = Answers()
    model.seconds = 0.001
    for n in (1, 2):
        submit(queue, answers, n)
    scheduler.flush()
    answers.values(2)
    submit(queue, answers, 3)
    scheduler.flush()
    assert answers.values(3)[2] == [6]
    assert model.runs == [[1, 2], [3]]


def test_a_lone_caller_is_never_made_to_wait(model: Doubler) -> None:
    scheduler = BatchScheduler(1, clock=lambda: model.now)
    queue = BatchQueue(scheduler, model, BatchingParameters())
    answers = Answers()
    model.seconds = 0.001
    for n in range(3):
        submit(queue, answers, n)
        scheduler.flush()
        answers.values(n + 1)
    assert model.runs == [[0], [1], [2]]
