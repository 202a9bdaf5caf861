"""A run's log, from the bucket of a real SeaweedFS and a server in place of the cluster's API.

That the API answers like this is for tests/cluster.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pulumi
import pytest

from infra.commands import job_log
from infra.commands.deployed import Deployed
from infra.commands.job_log import RunLog, continuation
from infra.run.run_record import Record
from store.client import Client
from store.errors import PROGRAM
from tests.infra.commands.test_job_state import RUN, ended, job, pod
from tests.infra.commands.test_runs import record
from tests.infra.conftest import ANY_CLUSTER
from tests.seaweedfs import SeaweedFS

PLACE = "/api/v1/namespaces/stack"
JOBS = "/apis/batch/v1/namespaces/stack/jobs"


@pytest.mark.parametrize(
    ("stored", "live", "shown"),
    [
        ("", "abc", "abc"),
        ("ab", "abc", "abc"),
        ("abc", "abc", "abc"),
        # An earlier attempt's lines are only in the bucket.
        ("xyab", "abc", "xyabc"),
        ("xy", "abc", "xyabc"),
        # The last line of both is not enough to tell the place.
        ("xyaba", "abac", "xyabac"),
        ("aaab", "aabaabaaabc", "aaabc"),
        # What the agent says before it has a log is only in the pod.
        ("xab", "pabc", "xabc"),
        ("abc", "", "abc"),
    ],
)
def test_what_is_in_both_logs_is_shown_once(stored: str, live: str, shown: str) -> None:
    def lines(text: str) -> list[bytes]:
        return [letter.encode() for letter in text]

    assert stored + live[continuation(lines(stored), lines(live)) :] == shown


@dataclass
class Api:
    """A cluster that has one Job, and goes from scene to scene: on each watch to the next."""

    scenes: list[tuple[dict[str, Any] | None, list[dict[str, Any]]]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    """Pod -> its lines, of which there is one a second."""
    limits: list[tuple[int, bool]] = field(default_factory=list)
    """How many lines the next answers have, and whether they end in order after them."""
    asked: list[str] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)
    """Node -> whether it is Ready."""

    def answer(self, target: str) -> tuple[int, bytes, bool]:
        """Return status, body, and whether all of it will arrive."""
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.asked.append(target)
        one, pods = self.scenes[0]
        if "watch" in query:
            if len(self.scenes) > 1:
                self.scenes.pop(0)
            later, pods = self.scenes[0]
            found = pods if "/pods" in url.path else [later or one]
            events = [{"type": "MODIFIED", "object": _changed(each)} for each in found]
            return 200, b"".join(json.dumps(event).encode() + b"\n" for event in events), True
        if url.path.endswith("/log"):
            numbered = enumerate(self.logs[url.path.split("/")[-2]])
            lines = [f"{_moment(number)} {line}\n" for number, line in numbered]
            if since := query.get("sinceTime"):
                lines = [line for line in lines if line[:19] >= since[:19]]
            kept, whole = self.limits.pop(0) if self.limits else (None, True)
            # As the kubelet does when the container is removed meanwhile.
            lines = [*lines[:kept], "unable to retrieve container logs for containerd://1"]
            return 200, "".join(lines).encode(), whole
        if url.path == f"{PLACE}/events":
            return 200, json.dumps({"items": self.events}).encode(), True
        if url.path == f"{PLACE}/pods":
            return 200, json.dumps({"items": pods}).encode(), True
        if url.path.startswith("/api/v1/nodes/"):
            ready = {"type": "Ready", "status": self.nodes[url.path.split("/")[-1]]}
            return 200, json.dumps({"status": {"conditions": [ready]}}).encode(), True
        if one is None:
            return 404, b"{}", True
        return 200, json.dumps(one).encode(), True


def _moment(second: int) -> str:
    return f"2026-03-01T10:00:{second:02}.000000000Z"


def _changed(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "metadata": {**one["metadata"], "resourceVersion": "changed"}}


def versioned(one: dict[str, Any]) -> dict[str, Any]:
    one["metadata"]["resourceVersion"] = "1"
    return one


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    found = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body, whole = found.answer(self.path)
            self.send_response(status)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in body.splitlines(keepends=True):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if whole:
                self.wfile.write(b"0\r\n\r\n")

        def change(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.did.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PATCH = do_DELETE = change

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who has seen enough of a watch hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "current-context": "c",
            "clusters": [
                {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
            ],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.setattr(job_log.time, "sleep", lambda _: None)
        yield found
        server.shutdown()


@dataclass
class Shown:
    log: RunLog
    text: list[bytes] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return b"".join(self.text).decode().splitlines()


@pytest.fixture
def bucket(object_store: SeaweedFS) -> Iterator[tuple[Any, str]]:
    client, name = object_store.client(), f"infra-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield client, name
    for entry in client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_object(Bucket=name, Key=entry["Key"])
    client.delete_bucket(Bucket=name)
    client.close()


@pytest.fixture
def shown(bucket: tuple[Any, str], worker: int = 0) -> Shown:
    s3, name = bucket
    client = Client(s3, PROGRAM)
    stack = Deployed(
        "dlstack-dev", "stack", ANY_CLUSTER, "127.0.0.1", name, "mnist", {"in_stack": True}
    )
    text: list[bytes] = []
    said: list[str] = []
    return Shown(RunLog(stack, client, RUN, worker, text.append, said.append), text, said)


def store(bucket: tuple[Any, str], text: str, key: str = f"runs/{RUN[:12]}/log.txt") -> None:
    bucket[0].put_object(Bucket=bucket[1], Key=key, Body=text.encode())


RUNNING = versioned(job())
COMPLETE = versioned(job(conditions=(ended("Complete"),)))
FAILED = versioned(job(conditions=(ended("Failed", reason="BackoffLimitExceeded"),)))


def at(second: int, name: str, **state: Any) -> dict[str, Any]:
    return versioned(pod(name, created=_moment(second), **state))


def test_a_finished_run_is_read_from_the_bucket(bucket: tuple[Any, str], shown: Shown) -> None:
    store(bucket, "one\ntwo\n")
    assert shown.log.show(None) is True
    assert shown.lines == ["one", "two"]


def test_a_run_that_left_nothing_shows_nothing(bucket: tuple[Any, str], shown: Shown) -> None:
    assert shown.log.show(None) is False
    assert shown.lines == []


def test_of_a_killed_pod_the_last_words_are_added_to_what_the_bucket_has(
    bucket: tuple[Any, str], shown: Shown, api: Api
) -> None:
    store(bucket, "of an earlier attempt\none\ntw")
    api.scenes = [(FAILED, [at(0, "a", terminated={"exitCode": 137})])]
    api.logs = {"a": ["one", "two", "three"]}
    assert shown.log.show(FAILED)
    assert shown.lines == ["of an earlier attempt", "one", "two", "three"]


def test_following_waits_for_the_pod_and_goes_on_over_one_that_is_replaced(
    bucket: tuple[Any, str], shown: Shown, api: Api
) -> None:
    api.scenes = [
        (RUNNING, []),
        (RUNNING, [at(0, "a", waiting={"reason": "ErrImagePull"})]),
        (RUNNING, [at(0, "a", waiting={"reason": "ErrImagePull"})]),
        (RUNNING, [at(0, "a", running={})]),
        (RUNNING, [at(0, "a", terminated={"exitCode": 1})]),
        (RUNNING, [at(0, "a", terminated={"exitCode": 1}), at(9, "b", running={})]),
        (COMPLETE, [at(9, "b", terminated={"exitCode": 0})]),
    ]
    api.logs = {"a": ["one", "two"], "b": ["one", "three"]}
    api.events = [
        {
            "involvedObject": {"uid": RUNNING["metadata"]["uid"]},
            "reason": "FailedCreate",
            "message": 'Error creating: pods "a" is forbidden: exceeded quota: small, limited: 0',
        }
    ]
    assert shown.log.show(RUNNING) is False
    assert shown.log.follow(RUNNING) == COMPLETE
    assert shown.lines == ["one", "two", "one", "three"]
    assert [said.partition(". ")[0] for said in shown.said] == [
        "Waiting for the Job's pod: the namespace's quota is used up: exceeded quota: small, "
        "limited: 0",
        "Waiting for the Job's pod: the image can't be pulled: ErrImagePull",
    ]


@pytest.mark.parametrize("ready", ["Unknown", "True"])
def test_who_follows_gives_up_what_waits_for_a_lost_node(
    bucket: tuple[Any, str], shown: Shown, api: Api, ready: str
) -> None:
    """Symptom: with no `up` that waited, the run stood still until somebody removed the pod."""
    ending = at(0, "a", running={})
    ending["metadata"]["deletionTimestamp"] = _moment(5)
    ending["spec"] = {**ending.get("spec", {}), "nodeName": "n"}
    api.nodes = {"n": ready}
    api.scenes = [
        (RUNNING, [ending]),
        (RUNNING, [at(9, "b", running={})]),
        (COMPLETE, [at(9, "b", terminated={"exitCode": 0})]),
    ]
    api.logs = {"a": ["one"], "b": ["two"]}
    shown.log.follow(RUNNING)
    assert shown.lines == ["one", "two"]
    lost = ready == "Unknown"
    assert shown.said == ["The node 'n' does not answer. The pod 'a' is given up."] * lost
    gone = [f"PATCH {PLACE}/pods/a/status", f"DELETE {PLACE}/pods/a?gracePeriodSeconds=0"]
    assert api.did == gone * lost


def test_after_a_broken_connection_no_line_is_missing_and_none_comes_twice(
    bucket: tuple[Any, str], shown: Shown, api: Api
) -> None:
    store(bucket, "0\n1\n")
    api.scenes = [
        (RUNNING, [at(0, "a", running={})]),
        (RUNNING, [at(0, "a", running={})]),
        (COMPLETE, [at(0, "a", terminated={"exitCode": 0})]),
    ]
    api.logs = {"a": [str(number) for number in range(9)]}
    api.limits = [(2, False), (4, True), (2, False), (3, True), (2, False)]
    shown.log.show(RUNNING)
    shown.log.follow(RUNNING)
    assert shown.lines == [str(number) for number in range(9)]
    assert any("sinceTime" in asked for asked in api.asked)


def test_following_ends_when_the_job_is_cancelled_and_its_pod_is_gone(
    bucket: tuple[Any, str], shown: Shown, api: Api
) -> None:
    """Symptom otherwise: it waits for a pod that never comes."""
    cancelled = versioned(job(suspend=True))
    api.scenes = [
        (RUNNING, [at(0, "a", running={})]),
        (cancelled, [at(0, "a", running={})]),
        (cancelled, []),
    ]
    api.logs = {"a": ["one", "two"]}
    assert shown.log.follow(RUNNING) == cancelled
    assert shown.lines == ["one", "two"]


def test_a_job_that_is_deleted_meanwhile_is_an_error(
    bucket: tuple[Any, str], shown: Shown, api: Api
) -> None:
    api.scenes = [(RUNNING, []), (None, [])]
    with pytest.raises(pulumi.RunError, match="The Job 'training-1' was deleted"):
        shown.log.follow(RUNNING)


def test_each_worker_but_the_first_has_a_folder_of_its_own() -> None:
    assert job_log.log_key(RUN, 0) == f"runs/{RUN[:12]}/log.txt"
    assert job_log.log_key(RUN, 3) == f"runs/{RUN[:12]}/workers/3/log.txt"


def test_who_follows_is_told_now_and_then_how_far_the_run_is(
    shown: Shown, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, beside the log; not twice of the same."""
    seen = [
        record(RUN, progress={"done": done, "total": 9, "unit": "steps", "at": f"2026-03-0{done}"})
        for done in (1, 1, 2, 2, 3)
    ]
    all_seen = threading.Event()

    def of_run(*_: object) -> Record | None:
        if not seen:
            all_seen.set()
            return None
        return seen.pop(0)

    monkeypatch.setattr(job_log.run_record, "of_run", of_run)
    monkeypatch.setattr(job_log, "_PROGRESS_SECONDS", 0.001)
    with shown.log._told_how_far():
        assert all_seen.wait(60)
    assert shown.said == ["[step 2 of 9 (22 %)]", "[step 3 of 9 (33 %)]"]
