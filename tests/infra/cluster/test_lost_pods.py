"""Pods that never say that they have ended, told by a server in place of the API."""

import copy
from typing import Any

import pytest

from infra.cluster import lost_pods
from infra.cluster.lost_pods import LostPods
from tests.infra.conftest import ANY_CLUSTER, KubeApi

PODS = "/api/v1/namespaces/test/pods"
EVICTED = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
READY = {"type": "Ready", "status": "False"}
POD: dict[str, Any] = {
    "metadata": {
        "name": "a",
        "uid": "1",
        "deletionTimestamp": "2026-03-01T10:00:30Z",
        "deletionGracePeriodSeconds": 30,
    },
    "spec": {"nodeName": "two"},
    "status": {"phase": "Running", "conditions": [READY, EVICTED]},
}


def node(ready: str) -> tuple[int, Any]:
    return 200, {"status": {"conditions": [{"type": "Ready", "status": ready}]}}


@pytest.fixture
def pod(kube_api: KubeApi) -> dict[str, Any]:
    """The pod, which is told to end on the node `two`."""
    one = copy.deepcopy(POD)
    kube_api[f"{PODS}/a/status"] = (200, one)
    kube_api[f"{PODS}/a?gracePeriodSeconds=0"] = (200, {})
    kube_api["/api/v1/nodes/two"] = node("Unknown")
    return one


def given_up(pod: dict[str, Any]) -> list[str]:
    return LostPods(ANY_CLUSTER, "test").give_up([pod])


IS_GIVEN_UP = ". The pod 'a' is given up."


def test_a_pod_on_a_silent_node_has_failed_at_no_charge(
    kube_api: KubeApi, pod: dict[str, Any]
) -> None:
    """Symptom otherwise: the Job waits for ever, since it has a failure policy."""
    assert given_up(pod) == [f"the node 'two' does not answer{IS_GIVEN_UP}"]
    assert pod["status"]["phase"] == "Failed"
    ready, disruption = pod["status"]["conditions"]
    assert (ready, disruption["type"], disruption["status"]) == (READY, "DisruptionTarget", "True")
    assert f"{PODS}/a?gracePeriodSeconds=0" not in kube_api


def test_a_pod_whose_node_is_gone_is_given_up(kube_api: KubeApi, pod: dict[str, Any]) -> None:
    del kube_api["/api/v1/nodes/two"]
    assert given_up(pod) == [f"the node 'two' is gone{IS_GIVEN_UP}"]


@pytest.mark.parametrize(
    ("part", "value"),
    [("metadata", {"name": "a", "uid": "1"}), ("status", {"phase": "Succeeded"})],
)
def test_what_may_still_end_by_itself_is_left_alone(
    pod: dict[str, Any], part: str, value: dict[str, Any]
) -> None:
    pod[part] = value
    assert given_up(pod) == []


@pytest.mark.parametrize("answer", [node("False"), (403, {"message": "no"})])
def test_on_a_node_that_is_not_well_or_nobody_may_see_it_has_its_grace(
    kube_api: KubeApi, pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    kube_api["/api/v1/nodes/two"] = answer
    assert given_up(pod) == []
    monkeypatch.setattr(lost_pods, "_LATE_SECONDS", -31)
    assert given_up(pod) == [f"its pod on the node 'two' did not end in time{IS_GIVEN_UP}"]


def test_a_node_that_is_ready_ends_its_pods_itself(
    kube_api: KubeApi, pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom otherwise: on a machine with much to do two pods of a run train for a while."""
    kube_api["/api/v1/nodes/two"] = node("True")
    monkeypatch.setattr(lost_pods, "_LATE_SECONDS", -31)
    assert given_up(pod) == []


def test_who_may_not_give_it_up_is_told_once(kube_api: KubeApi, pod: dict[str, Any]) -> None:
    kube_api[f"{PODS}/a/status"] = (403, {"message": "no"})
    lost = LostPods(ANY_CLUSTER, "test")
    (said,) = lost.give_up([pod])
    assert "may not give its pod up: that is 'patch' of 'pods/status'" in said
    assert lost.give_up([pod]) == []
