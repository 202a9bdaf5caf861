"""How long a pod that is told to end is waited for."""

import time
from typing import Any

import pulumi
import pytest

from infra.cluster import api, ending
from tests.infra.conftest import CLUSTER


def pod(grace: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "training-1"},
        "spec": {"terminationGracePeriodSeconds": grace},
        "status": {"phase": "Running"},
    }


def test_a_pod_has_its_grace_to_save_and_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `dlstack:graceSeconds` of minutes, `cancel` gave up before the pod had to end."""
    began = time.monotonic()

    def pods(*_: object) -> list[dict[str, Any]]:
        time.sleep(0.02)
        return [pod(60)] if time.monotonic() < began + 0.3 else []

    monkeypatch.setattr(ending, "_END_SECONDS", 0.05)
    monkeypatch.setattr(ending, "pods", pods)
    monkeypatch.setattr(api, "events", lambda *_: [])
    ending.await_pods(CLUSTER, "namespace", "label", print)
    assert time.monotonic() >= began + 0.3

    monkeypatch.setattr(ending, "pods", lambda *_: [pod(0)])
    with pytest.raises(pulumi.RunError, match="'training-1', .* still runs after"):
        ending.await_pods(CLUSTER, "namespace", "label", print)


def test_a_pod_that_nobody_may_give_up_is_told_while_it_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Symptom otherwise: `cancel` is silent for two minutes, and then says nothing of the node."""
    lost = pod(0)
    lost["metadata"] |= {"uid": "1", "deletionTimestamp": "2026-03-01T10:00:30Z"}
    lost["spec"]["nodeName"] = "two"
    answers = [[lost], []]

    def refuse(*_: object) -> None:
        raise api.Forbidden("no")

    monkeypatch.setattr(ending, "pods", lambda *_: answers.pop(0))
    monkeypatch.setattr(api, "events", lambda *_: [])
    monkeypatch.setattr(api, "get", lambda *_: None)
    monkeypatch.setattr(api, "patch", refuse)
    ending.await_pods(CLUSTER, "namespace", "label", print)
    said = capsys.readouterr().out
    assert said.startswith("The node 'two' is gone, and the kubeconfig's user may not give its pod")


def test_a_job_that_is_ended_leaves_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom otherwise: Kueue starts it again as soon as there is room."""
    sent: list[Any] = []
    monkeypatch.setattr(api, "patch", lambda *words: sent.append(words[-1]))
    ending.suspend(CLUSTER, "namespace", "training-1")
    (change,) = sent
    assert change["spec"] == {"suspend": True}
    assert change["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": None}


def test_a_deployment_goes_after_its_pods(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Symptom otherwise: `destroy` is over, and the Deployment of a given namespace is there."""
    pods_left = [[pod(0)], [pod(0)], []]
    deployments = [[{"metadata": {"name": "prediction"}}]] * 2 + [[]]
    asked: list[str] = []

    def items(_cluster: object, path: str) -> list[dict[str, Any]]:
        asked.append(path)
        return pods_left.pop(0) if "/pods?" in path else deployments.pop(0)

    monkeypatch.setattr(api, "items", items)
    monkeypatch.setattr(api, "events", lambda *_: [])
    ending.await_stack(CLUSTER, "namespace", print)
    assert capsys.readouterr().out == "Pods that end are waited for: training-1.\n"
    assert pods_left == deployments == []
    label = "labelSelector=app.kubernetes.io%2Fpart-of%3Ddlstack"
    assert all(path.endswith(label) for path in asked)

    pods_left, deployments = [[], []], [[{"metadata": {"name": "prediction"}}]] * 10**6
    monkeypatch.setattr(ending, "_END_SECONDS", 0.01)
    with pytest.raises(pulumi.RunError, match="'prediction' is still there .* 'finalizers'"):
        ending.await_stack(CLUSTER, "namespace", print)
