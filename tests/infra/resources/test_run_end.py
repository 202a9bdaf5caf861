"""The dynamic resource that waits for a training run, against a cluster of the test's own."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from infra.cluster import api, ending, why
from infra.cluster.api import NoAnswer
from infra.cluster.troubles import Trouble
from infra.resources import engine, run_end, waiting
from infra.run.run_record import Progress
from tests.infra.conftest import CLUSTER
from tests.infra.resources.conftest import Props

provider = run_end._RunEndProvider()
HASH = "5a1d" * 16
PROPS: Props = {
    "cluster": CLUSTER,
    "namespace": "test",
    "job": "training-1",
    "uid": "1",
    "run": "run 5a1d, attempt 1",
    "run_hash": HASH,
    "store": {},
    "bucket": "output",
    "model_name": "mnist",
}


def job(condition: str | None = None, *, suspend: bool = False, **more: Any) -> dict[str, Any]:
    conditions = [{"type": condition, "status": "True", **more}] if condition else []
    return {
        "metadata": {"name": "training-1", "namespace": "test"},
        "spec": {"suspend": suspend, "parallelism": 1},
        "status": {"conditions": conditions},
    }


class NothingYet:
    def __init__(self, _props: Props) -> None:
        pass

    def is_there(self) -> bool:
        return False

    def progress(self) -> Progress | None:
        return None


Given = Callable[..., None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[Given]:
    """Let the cluster tell these in a row of watches, and these pods when it is asked for them."""
    told: list[Any] = []
    listed: list[Any] = []
    notes: list[Any] = []

    def watch(*_: Any) -> Iterator[Any]:
        now = told.pop(0)
        if isinstance(now, Exception):
            raise now
        yield from now

    def given(*watches: Any, pods: Any = ()) -> None:
        told.extend(watches)
        listed.extend(pods)

    monkeypatch.setattr(api, "watch", watch)
    monkeypatch.setattr(
        api, "get", lambda _, path: None if path.endswith(f"/{PROPS['job']}") else {"items": listed}
    )
    monkeypatch.setattr(api, "patch", lambda *words: notes.append(words[-1]))
    monkeypatch.setattr(why, "job", lambda *_: None)
    monkeypatch.setattr(engine, "pause", lambda _: None)
    monkeypatch.setattr(run_end, "Publication", NothingYet)
    yield given
    assert told == []


def test_a_run_has_ended_when_its_job_is_complete(given: Given) -> None:
    given([job()], [job(), job("Complete")])
    result = provider.create(PROPS)
    assert (result.id, result.outs) == ("test/training-1", PROPS)


def test_a_published_model_ends_the_wait_before_its_job_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom otherwise: the roll-out begins two seconds after the model is there."""
    trains, over = threading.Event(), threading.Event()

    def watch(*_: Any) -> Iterator[Any]:
        yield job()
        trains.set()
        over.wait(60)

    class Published(NothingYet):
        def is_there(self) -> bool:
            return trains.wait(60)

    monkeypatch.setattr(api, "watch", watch)
    monkeypatch.setattr(why, "job", lambda *_: None)
    monkeypatch.setattr(run_end, "Publication", Published)
    assert provider.create(PROPS).outs == PROPS
    over.set()


def test_the_terminal_is_told_how_far_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of an earlier attempt, and not twice of the same."""
    at = [datetime(2026, 3, 1, 10, 0, second, tzinfo=UTC) for second in (0, 0, 1, 1, 2)]
    seen = [Progress(100 * number, 1000, "steps", one, None) for number, one in enumerate(at)]
    told: list[str] = []
    over = threading.Event()

    def watch(*_: Any) -> Iterator[Any]:
        yield job()
        over.wait(60)
        yield job("Complete")

    class Trains(NothingYet):
        def progress(self) -> Progress | None:
            if len(seen) == 1:
                over.set()
            return seen.pop(0) if seen else None

    monkeypatch.setattr(api, "watch", watch)
    monkeypatch.setattr(engine, "tell", told.append)
    monkeypatch.setattr(run_end, "Publication", Trains)
    for name in ("_PROGRESS_SECONDS", "_FIRST_LOOK_SECONDS"):
        monkeypatch.setattr(run_end, name, 0.001)
    provider.create(PROPS)
    assert [line for line in told if "step" in line] == [
        "The training run 5a1d, attempt 1: step 200 of 1000 (20 %)",
        "The training run 5a1d, attempt 1: step 400 of 1000 (40 %)",
    ]


def test_a_timeout_of_the_cluster_is_no_time_to_wait_longer(given: Given) -> None:
    """Symptom otherwise: a loop for ever, as if the Job still trained."""
    given(TimeoutError("the socket"))
    with pytest.raises(TimeoutError, match="the socket"):
        provider.create(PROPS)


def test_the_cluster_may_be_away_meanwhile(given: Given) -> None:
    given([job()], NoAnswer("away"), NoAnswer("away"), [job("Complete")])
    provider.create(PROPS)


def test_a_cluster_that_stays_away_is_an_error(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_end, "_AWAY_SECONDS", -1)
    given(NoAnswer("away"))
    with pytest.raises(NoAnswer):
        provider.create(PROPS)


def test_a_failed_run_says_the_last_words_of_its_boot_file_and_the_way_on(given: Given) -> None:
    said = "step 1\nTraceback (most recent call last):\n  File\nValueError: no such\nlayer"
    ended = {"exitCode": 1, "reason": "Error", "message": said, "finishedAt": "2026"}
    pod = {"status": {"containerStatuses": [{"name": "training", "state": {"terminated": ended}}]}}
    given([job("Failed", reason="BackoffLimitExceeded", message="m")], pods=[pod])
    with pytest.raises(pulumi.RunError) as raised:
        provider.create(PROPS)
    text = str(raised.value)
    assert text.startswith("The training run 5a1d, attempt 1, failed: exit status 1: ValueError")
    assert said in text
    assert "The version that is served stays." in text and "'pulumi up' tries again" in text


def test_a_run_that_took_too_long_names_the_key(given: Given) -> None:
    given([job("Failed", reason="DeadlineExceeded", message="Job was active too long")])
    with pytest.raises(pulumi.RunError, match="longer than dlstack:timeout"):
        provider.create(PROPS)


def test_a_cancelled_run_is_not_waited_for(given: Given) -> None:
    given([job()], [job(suspend=True)])
    with pytest.raises(pulumi.RunError, match="was cancelled. .* goes on from its last checkpoint"):
        provider.create(PROPS)


@pytest.mark.parametrize(
    "last", [[], [job() | {"metadata": {"name": "training-1", "deletionTimestamp": "2026"}}]]
)
def test_a_deleted_one_is_not_waited_for(given: Given, last: Any) -> None:
    given([job()], last)
    with pytest.raises(pulumi.RunError, match="somebody has deleted it. Run 'pulumi up --refresh'"):
        provider.create(PROPS)


def test_what_is_hopeless_ends_the_wait(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = Trouble("the image 'x' can't be pulled", "Set dlstack:image to another.", True)
    monkeypatch.setattr(why, "job", lambda *_: trouble)
    given([job()], [job()])
    with pytest.raises(pulumi.RunError, match="can't begin: the image 'x' .*Set dlstack:image"):
        provider.create(PROPS)


def test_a_job_that_no_node_takes_is_ended_after_its_start_timeout(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble("no node has room for its pod (0/3 nodes)", "Add a node.", False)
    monkeypatch.setattr(why, "job", lambda *_: trouble)
    ended: list[str] = []
    monkeypatch.setattr(ending, "suspend", lambda *words: ended.append(words[-1]))
    now = iter(range(0, 1000, 20))
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: next(now)))
    given(*[[job()]] * 5)
    problem = r"within dlstack:startTimeout \(60 s\), and was ended: no node has room .* Add a node"
    with pytest.raises(pulumi.RunError, match=problem):
        provider.create(PROPS | {"start_seconds": 60.0})
    assert ended == ["training-1"]


def test_pods_of_a_lost_node_are_given_up_and_told_of(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(engine, "tell", told.append)
    monkeypatch.setattr(run_end.LostPods, "give_up", lambda *_: ["the node 'b' is gone."])
    given([job()], [job("Complete")])
    provider.create(PROPS)
    assert told[-1] == "The training run 5a1d, attempt 1: the node 'b' is gone."


def test_workers_that_are_done_are_not_missing(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(why, "job", lambda *_: asked.append(1))
    two = job()
    two["spec"]["parallelism"] = 2
    two["status"] |= {"ready": 1, "succeeded": 1}
    given([two], [job("Complete")])
    provider.create(PROPS)
    assert not asked


def test_ctrl_c_ends_the_wait_and_not_the_training(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "is_interrupted", lambda: True)
    given([job()])
    with pytest.raises(pulumi.RunError, match="It goes on: 'pulumi up' waits for it again"):
        provider.create(PROPS)


@pytest.mark.parametrize(
    ("news", "changes"),
    [({}, False), ({"run": "another word"}, False), ({"uid": "2"}, True), ({"job": "b"}, True)],
)
def test_another_job_is_waited_for_and_the_same_is_not(news: Props, changes: bool) -> None:
    assert provider.diff("id", PROPS, PROPS | news).changes is changes


def beside_a_proxy(**ended: Any) -> dict[str, Any]:
    """A pod whose training has ended, with a container of a mesh that runs on."""
    states = [
        {"name": "istio-proxy", "state": {"running": {}}},
        {"name": "training", "state": {"terminated": ended}},
    ]
    return {"metadata": {}, "status": {"phase": "Running", "containerStatuses": states}}


def test_a_run_that_a_mesh_keeps_from_ending_has_trained(given: Given) -> None:
    given([job()], pods=[beside_a_proxy(exitCode=0)])
    provider.create(PROPS)


def test_a_run_that_a_mesh_keeps_from_ending_has_failed(given: Given) -> None:
    """Symptom otherwise: `up` waits for the whole of dlstack:timeout, without a word."""
    given([job()], pods=[beside_a_proxy(exitCode=1, message="ValueError: no such layer")])
    with pytest.raises(pulumi.RunError) as raised:
        provider.create(PROPS)
    text = str(raised.value)
    assert text.startswith("The training run 5a1d, attempt 1, failed: exit status 1: ValueError: n")
    assert "'istio-proxy', which the cluster puts into its pods, runs on" in text


def test_a_job_that_waits_in_a_queue_is_waited_for(given: Given) -> None:
    queued = job(suspend=True)
    queued["metadata"] |= {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
    given([queued], [queued, job()], [job("Complete")])
    provider.create(PROPS)
