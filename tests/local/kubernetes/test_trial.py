"""What is said of a trial's pod: that it has succeeded, or which part of the cluster has failed.

That a real pod is tried is for the tests on a real cluster.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest

from local.console import LocalError
from local.kubernetes.trial import Trial
from local.machine.processes import Daemon

PODS = "/api/v1/namespaces/kube-system/pods"


class Api:
    """Answers by what a path begins with; remembers what was deleted."""

    def __init__(self, pod, events=(), coredns=()):
        self.pod = pod
        self.events = events
        self.coredns = coredns
        self.deleted = []

    def ask(self, method, path):
        if method == "DELETE":
            self.deleted.append(path)
            return b"{}"
        if path.startswith(f"{PODS}/reach-"):
            return None if self.pod is None else json.dumps(self.pod).encode()
        items = self.events if "/events" in path else self.coredns
        return json.dumps({"items": list(items)}).encode()


@pytest.fixture
def processes(tmp_path):
    daemons = [Daemon(name, ["sleep", "60"], tmp_path) for name in ("kubelet", "kube-proxy")]
    for daemon in daemons:
        daemon.start()
    yield daemons
    for daemon in daemons:
        daemon.stop()


def pod(state, **status):
    return {"status": {"containerStatuses": [{"state": state}], **status}}


def ended(message="", code=1, at=None):
    finished = (at or datetime.now(UTC)).isoformat()
    return pod({"terminated": {"exitCode": code, "message": message, "finishedAt": finished}})


def coredns(started, ready=True):
    running = {"running": {"startedAt": started.isoformat()}}
    return {"status": {"containerStatuses": [{"state": running, "ready": ready}]}}


NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(hours=1)
# These are set before the first test, which may run long afterwards.
LATER = NOW + timedelta(days=1)


def trial(processes, api):
    return Trial(processes, api.ask, lambda pod: f"Its log ends with:\n    of {pod}\n")


def test_a_start_is_tried_once_and_each_process_that_is_new_makes_another_start(processes):
    api = Api(None)
    first = trial(processes, api).name
    assert trial(processes, api).name == first
    processes[0].stop()
    processes[0].start()
    assert trial(processes, api).name != first


def test_a_pod_that_has_ended_well_is_enough_and_earlier_ones_go(processes):
    """Its phase is told later, when its network was taken down."""
    api = Api(ended(code=0), coredns=[coredns(datetime.now(UTC))])
    trial(processes, api).finish(0)
    (path,) = api.deleted
    assert path.startswith(f"{PODS}?labelSelector=app%3Dreach&fieldSelector=metadata.name%21%3D")


@pytest.mark.parametrize(
    ("pods", "is_enough"),
    [
        ([coredns(LONG_AGO)], False),
        ([coredns(LATER, ready=False)], False),
        ([coredns(LONG_AGO), coredns(LATER)], True),
        ([], False),
    ],
    ids=["as an earlier start left it", "not probed yet", "one of this start", "none"],
)
def test_coredns_has_to_be_ready_in_this_start(processes, pods, is_enough):
    # By its end in the future none is believed for having been there for some seconds.
    tried = trial(processes, Api(ended(code=0, at=LATER), coredns=pods))
    if is_enough:
        tried.finish(0)
        return
    with pytest.raises(LocalError, match="can't resolve names .*: a pod did once, but CoreDNS is"):
        tried.finish(0)


def test_a_coredns_that_outlived_all_processes_is_believed_after_some_seconds(processes):
    before = NOW - timedelta(seconds=11)
    trial(processes, Api(ended(code=0, at=before), coredns=[coredns(LONG_AGO)])).finish(0)


@pytest.mark.parametrize(
    ("api", "said"),
    [
        (
            Api(
                ended("name: lookup kubernetes on 10.79.0.10:53: i/o timeout\n"),
                coredns=[pod({"waiting": {"reason": "CrashLoopBackOff"}})],
            ),
            r"can't resolve names in this cluster: lookup .* timeout\. CoreDNS is CrashLoopBackOff"
            r"\..*make stop && make up.*of deployment/coredns",
        ),
        (
            Api(ended("service: dial tcp 10.79.0.1:443: connection refused")),
            r"reach no Service: dial tcp .* refused\..*The log of kube-proxy is ",
        ),
        (
            Api(pod({}), events=[{"type": "Warning", "message": "no address is free."}]),
            r"pods don't start: no address is free\. ",
        ),
        (
            Api({"status": {"phase": "Failed", "message": "The node was low on resource."}}),
            r"pods don't start: The node was low on resource\. ",
        ),
        (Api(None), r"pods don't start\..*The log of kubelet is "),
        (Api(pod({"running": {}})), r"has not ended after 0 s"),
    ],
    ids=["name", "service", "event", "evicted", "no pod", "still running"],
)
def test_a_failure_names_the_part_and_the_next_up_tries_anew(processes, api, said):
    tried = trial(processes, api)
    with pytest.raises(LocalError, match=f"(?s){said}"):
        tried.finish(0)
    assert api.deleted == [f"{PODS}/{tried.name}"]


def test_the_pod_that_is_made_is_of_this_start_and_has_the_image(processes):
    tried = trial(processes, Api(None))
    text = tried.manifest("localhost/platform:1")
    assert f"name: {tried.name}\n" in text
    assert "image: localhost/platform:1\n" in text
    assert "${" not in text
