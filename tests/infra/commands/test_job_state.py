"""How a Job is, read from what the cluster's API tells of it and its pods."""

from datetime import UTC, datetime
from typing import Any

import pytest

from infra.commands import job_state
from infra.commands.job_state import JobState

RUN = "5a1dcbe5" * 8
STARTED = "2026-03-01T10:00:00Z"
NOW = datetime(2026, 3, 1, 10, 0, 30, tzinfo=UTC)

TRACEBACK = """\
    one(400)
    ~~~^^^^^
  File "/work/boot.py", line 9, in one
    raise ValueError("no pictures")
ValueError: no pictures
Ran boot file 'boot.py' in 3.1 s
boot file 'boot.py' exited with status 1
"""


def job(
    name: str = "training-1",
    run: str = RUN,
    created: str = STARTED,
    conditions: tuple[dict[str, str], ...] = (),
    **spec: Any,
) -> dict[str, Any]:
    annotations = {"dlstack.dev/run-hash": run, "dlstack.dev/attempt": "2"}
    return {
        "metadata": {"name": name, "uid": f"uid-of-{name}", "creationTimestamp": created},
        "spec": {"template": {"metadata": {"annotations": annotations}}, **spec},
        "status": {"startTime": STARTED, "conditions": list(conditions)},
    }


def ended(kind: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "lastTransitionTime": "2026-03-01T10:01:05Z", **more}


def pod(
    name: str = "a",
    owner: str = "training-1",
    created: str = STARTED,
    worker: int | None = None,
    conditions: tuple[dict[str, str], ...] = (),
    **state: Any,
) -> dict[str, Any]:
    labels = {} if worker is None else {"batch.kubernetes.io/job-completion-index": str(worker)}
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "creationTimestamp": created,
            "ownerReferences": [{"uid": f"uid-of-{owner}"}],
            "labels": labels,
        },
        "spec": {},
        "status": {
            "phase": "Pending",
            "conditions": list(conditions),
            "containerStatuses": [{"name": "training", "state": state}] if state else [],
        },
    }


def state(one: dict[str, Any], *pods: dict[str, Any]) -> JobState:
    return job_state.state_of(one, pods, NOW)


def test_a_running_job_counts_its_seconds() -> None:
    found = state(job(), pod(running={}))
    assert found == JobState("training-1", RUN, 2, 1, "running", "", STARTED, 30.0)


def test_a_finished_one_took_as_long_as_it_took() -> None:
    found = state(job(conditions=(ended("Complete"),)), pod(terminated={"exitCode": 0}))
    assert (found.state, found.reason, found.seconds) == ("succeeded", "", 65.0)


def test_a_cancelled_one_took_until_then() -> None:
    found = state(job(conditions=(ended("Suspended"),), suspend=True))
    assert (found.state, found.reason, found.seconds) == ("cancelled", "", 65.0)


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ([], "no pod yet"),
        ([pod(owner="another", running={})], "no pod yet"),
        ([pod()], "Pending"),
        (
            [
                pod(
                    conditions=(
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/1 nodes are available",
                        },
                    )
                )
            ],
            "no node takes its pod (0/1 nodes are available). See 'kubectl describe nodes'.",
        ),
        (
            [pod(waiting={"reason": "ErrImagePull", "message": "no such host"})],
            "the image can't be pulled: no such host. Set dlstack:image to an image that the nodes "
            "can get.",
        ),
    ],
    ids=["no pod", "another's pod", "not seen yet", "no room", "no image"],
)
def test_a_job_that_waits_says_for_what(waiting: list[dict[str, Any]], reason: str) -> None:
    found = state(job(), *waiting)
    assert (found.state, found.reason) == ("pending", reason)


def test_several_workers_run_when_all_do() -> None:
    two = job(completions=2)
    first = pod("a", worker=0, running={})
    waiting = pod("b", worker=1, waiting={"reason": "ContainerCreating"})
    assert state(two, first, waiting).reason == "ContainerCreating"
    assert state(two, first, pod("b", worker=1, running={})).state == "running"
    done = pod("b", worker=1, terminated={"exitCode": 0})
    assert state(two, first, done).state == "running"


def test_a_job_whose_pod_failed_and_that_may_try_again_is_waiting_to() -> None:
    first = pod("a", terminated={"exitCode": 1, "message": "error: no disk\n"})
    found = state(job(), first)
    assert (found.state, found.reason) == (
        "pending",
        "to be started again after exit status 1: no disk",
    )
    again = pod("b", created="2026-03-01T10:00:20Z", running={})
    assert state(job(), first, again).state == "running"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("step 1\nerror: Metric accuracy is 0.5.\n", "exit status 1: Metric accuracy is 0.5."),
        (TRACEBACK, "exit status 1: ValueError: no pictures"),
        ("step 1\nkilled\n", "exit status 1: killed"),
        ("", "exit status 1"),
    ],
    ids=["an error of ours", "a traceback", "neither", "nothing"],
)
def test_a_failed_job_is_explained_by_the_pods_last_words(message: str, words: str) -> None:
    failed = job(conditions=(ended("Failed", reason="BackoffLimitExceeded", message="too often"),))
    stopped = {"exitCode": 1, "reason": "Error", "message": message}
    assert state(failed, pod(terminated=stopped)).reason == words


def test_the_pod_that_failed_last_by_itself_is_the_one_that_is_quoted() -> None:
    failed = job(conditions=(ended("Failed", reason="BackoffLimitExceeded"),), completions=2)
    retried = {"exitCode": 7, "finishedAt": "2026-03-01T10:00:00Z", "message": "step 3"}
    told = {"exitCode": 143, "finishedAt": "2026-03-01T10:00:20Z", "message": "waiting"}
    cause = {
        "exitCode": 137,
        "reason": "OOMKilled",
        "finishedAt": "2026-03-01T10:00:10Z",
        "message": "step 7",
    }
    pods = (retried, told, cause, {**told, "finishedAt": "2026-03-01T09:00:00Z"})
    found = state(failed, *(pod(f"{n}", terminated=one) for n, one in enumerate(pods)))
    assert found.reason == (
        "exit status 137 (OOMKilled: it used more memory than dlstack:flavour has): step 7"
    )


def test_a_job_that_took_too_long_says_so() -> None:
    condition = ended("Failed", reason="DeadlineExceeded", message="active longer than deadline")
    found = state(job(conditions=(condition,)), pod(terminated={"exitCode": 143}))
    assert found.reason == "it took longer than dlstack:timeout"


def test_a_job_that_took_too_long_says_what_it_waited_for_until_then() -> None:
    """Its pods are gone by then; what `pulumi up` has noted down outlives the events as well."""
    condition = ended("Failed", reason="DeadlineExceeded", message="active longer than deadline")
    event = {
        "involvedObject": {"kind": "Pod", "name": "training-1-abcde", "uid": "gone"},
        "reason": "FailedScheduling",
        "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: none.",
        "lastTimestamp": "2026-03-01T10:00:00Z",
    }
    one = job(conditions=(condition,))
    assert job_state.state_of(one, [], NOW, [event]).reason == (
        "it took longer than dlstack:timeout; until then no node has room for its pod (0/1 nodes "
        "are available: 1 Insufficient cpu). Choose a smaller dlstack:flavour, add a node, or wait "
        "for what runs there."
    )
    one["metadata"]["annotations"] = {"dlstack.dev/reason": "it waited for room"}
    assert state(one).reason == "it waited for room"


def test_the_newest_job_is_that_of_the_last_run_or_of_the_one_asked_for() -> None:
    jobs = [
        job("b", run="b" * 64, created="2026-03-01T11:00:00Z"),
        job("a", run="a" * 64, created="2026-03-01T10:00:00Z"),
        job("other", run="", created="2026-03-01T12:00:00Z"),
    ]

    def newest(run: str = "") -> str | None:
        found = job_state.newest(jobs, run)
        return found["metadata"]["name"] if found else None

    assert (newest(), newest("aa"), newest("c")) == ("b", "a", None)


def test_a_workers_pod_is_its_newest() -> None:
    pods = [
        pod("old", worker=1, created="2026-03-01T10:00:00Z"),
        pod("new", worker=1, created="2026-03-01T10:00:09Z"),
        pod("first", worker=0, created="2026-03-01T10:00:10Z"),
    ]
    found = [job_state.worker_pod(pods, job(), worker) for worker in (0, 1, 2)]
    assert [one and one["metadata"]["name"] for one in found] == ["first", "new", None]


class TestAContainerOfTheClusterBesideIt:
    """A mesh's proxy, injected into the pod, which runs on when the training has ended."""

    def beside(self, **training: Any) -> dict[str, Any]:
        one = pod(**training)
        one["status"]["phase"] = "Running"
        proxy = {"name": "istio-proxy", "state": {"running": {}}}
        one["status"]["containerStatuses"].insert(0, proxy)
        return one

    def test_does_not_make_a_run_begin(self) -> None:
        one = self.beside(waiting={"reason": "ErrImagePull"})
        assert state(job(), one).state == "pending"

    def test_does_not_keep_it_from_having_succeeded(self) -> None:
        one = self.beside(terminated={"exitCode": 0, "finishedAt": "2026-03-01T10:00:20Z"})
        found = state(job(), one)
        assert (found.state, found.reason, found.seconds) == ("succeeded", "", 20)

    def test_does_not_keep_it_from_having_failed(self) -> None:
        one = self.beside(
            terminated={"exitCode": 1, "message": TRACEBACK, "finishedAt": "2026-03-01T10:00:20Z"}
        )
        found = state(job(), one)
        assert found.state == "failed"
        assert found.reason.startswith("exit status 1: ValueError: no pictures. The training has e")
        assert "'istio-proxy', which the cluster puts into its pods, runs on" in found.reason
        assert "native sidecars" in found.reason

    def test_that_ends_by_itself_is_waited_for(self) -> None:
        """A native sidecar is an init container, and the kubelet ends it after the others."""
        one = pod(terminated={"exitCode": 0})
        one["status"] |= {"phase": "Running", "initContainerStatuses": [{"name": "istio-proxy"}]}
        assert state(job(), one).state == "running"


QUEUED = {"kueue.x-k8s.io/queue-name": "gpus"}


def test_a_suspended_job_in_a_queue_waits_for_it_and_is_not_cancelled() -> None:
    one = job(suspend=True)
    one["metadata"] |= {"labels": QUEUED, "namespace": "team"}
    found = state(one)
    assert found.state == "pending"
    assert found.reason.startswith("its Job is suspended until the queue 'gpus' has room. 'kubectl")
    # Suspended again for another one that matters more, as its pods still end.
    assert state(one, pod(running={})).state == "pending"
    one["spec"]["suspend"] = False
    assert state(one, pod(running={})).state == "running"


def test_a_job_that_was_taken_out_of_its_queue_is_cancelled() -> None:
    assert state(job(suspend=True)).state == "cancelled"


def test_a_job_whose_pod_was_evicted_says_why() -> None:
    """Symptom otherwise: 'exit status 137', and a log that says nothing."""
    one = pod(terminated={"exitCode": 137, "reason": "Error", "message": "step 10"})
    why = "Pod ephemeral local storage usage exceeds the total limit of containers 64Mi. "
    one["status"] |= {"phase": "Failed", "reason": "Evicted", "message": why}
    found = state(job(conditions=(ended("Failed", reason="BackoffLimitExceeded"),)), one)
    assert found.state == "failed"
    assert found.reason == (
        "exit status 137 (evicted from its node: see disk in dlstack:flavours): " + why.strip()
    )
