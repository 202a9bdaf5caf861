"""When a roll-out is over, has failed, or was undone. Waiting itself is for the real cluster."""

from typing import Any

import pulumi
import pytest

from infra.cluster import api, why
from infra.resources import roll_out
from infra.resources.roll_out import _RollOutProvider
from tests.infra.conftest import CLUSTER


def deployment(generation: int = 2, seen: int = 2, **status: Any) -> dict[str, Any]:
    counts = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": seen, **counts, **status},
    }


def test_is_over_when_every_pod_is_new_and_available() -> None:
    assert roll_out.is_complete(deployment())


@pytest.mark.parametrize(
    "unfinished",
    [
        deployment(generation=3),
        deployment(updatedReplicas=1),
        deployment(replicas=3),
        deployment(availableReplicas=1),
        {"metadata": {"generation": 1}, "spec": {"replicas": 1}},
    ],
    ids=["not seen yet", "an old pod", "one too many", "one not available", "no status yet"],
)
def test_is_not_over_before(unfinished: dict[str, Any]) -> None:
    assert not roll_out.is_complete(unfinished)


def test_has_failed_when_the_controller_gave_up_the_present_one() -> None:
    conditions = [{"reason": "ProgressDeadlineExceeded", "message": "timed out"}]
    assert roll_out.failure_of(deployment(conditions=conditions)) == "timed out"
    assert roll_out.failure_of(deployment(generation=3, conditions=conditions)) is None
    assert roll_out.failure_of(deployment()) is None


@pytest.mark.parametrize(("found", "generation"), [(deployment(4, 4), 4), (deployment(4, 3), 2)])
def test_a_refresh_waits_for_no_edit_that_was_taken_back(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], generation: int
) -> None:
    """Symptom: a store scaled to 0 and back by hand was a change for `up --refresh`."""
    found["metadata"]["uid"] = "1"
    monkeypatch.setattr(api, "get", lambda *_: found)
    props = {"cluster": {}, "namespace": "n", "deployment": "d", "uid": "1", "generation": 2}
    assert _RollOutProvider().read("n/d", props).outs["generation"] == generation
    assert _RollOutProvider().read("n/d", props | {"uid": "2"}).outs["generation"] == 2


def test_a_watch_that_tells_nothing_says_nothing_of_the_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: on a busy cluster an `up` failed, since the Deployment had been deleted. It was
    there."""
    found = [deployment(seen=1)]
    monkeypatch.setattr(api, "get", lambda *_: found.pop() if found else None)
    monkeypatch.setattr(why, "deployment", lambda *_: None)
    watched = iter([[], [deployment()]])
    monkeypatch.setattr(api, "watch", lambda *_: iter(next(watched)))
    roll_out.wait(CLUSTER, "n", "d", 60)
    monkeypatch.setattr(api, "watch", lambda *_: iter(()))
    with pytest.raises(pulumi.RunError, match="'d' was deleted from the namespace 'n'"):
        roll_out.wait(CLUSTER, "n", "d", 60)


class Cluster:
    """A Deployment whose controller does at once what it is told, and maybe an autoscaler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, replicas: int, labels: Any = None) -> None:
        self.replicas, self.others, self.labels, self.did = replicas, [], labels, []
        monkeypatch.setattr(api, "watch", self.watch)
        monkeypatch.setattr(api, "patch", self.patch)
        monkeypatch.setattr(api, "get", self.get)
        monkeypatch.setattr(api, "delete", lambda _, path: self.did.append(f"DELETE {path}"))

    def watch(self, *_: Any) -> Any:
        for _ in range(9):
            if self.others and len(self.did) > 0:
                self.replicas = self.others.pop()
            counts = ("replicas", "updatedReplicas", "availableReplicas")
            found = deployment(**dict.fromkeys(counts, self.replicas))
            yield found | {"spec": {"replicas": self.replicas}}

    def patch(self, _: Any, path: str, document: Any) -> None:
        self.replicas = document["spec"]["replicas"]
        self.did.append(f"{path.rpartition('/')[2]} gets {self.replicas}")

    def get(self, _: Any, path: str) -> Any:
        assert path == AUTOSCALER
        return None if self.labels is None else {"metadata": {"labels": self.labels}}


AUTOSCALER = "/apis/autoscaling/v2/namespaces/n/horizontalpodautoscalers/d"
OWN = {"app.kubernetes.io/name": "d"}


def rolled_out(**scale: Any) -> None:
    where = {"cluster": CLUSTER, "namespace": "n", "deployment": "d", "seconds": 60.0}
    given = {"scale": {"autoscaler": OWN, **scale}} if scale else {}
    _RollOutProvider().create({**where, **given})


def test_pods_below_an_autoscalers_least_number_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: an `up` ended with one pod, where two were the least; the autoscaler made the other
    one later."""
    cluster = Cluster(monkeypatch, 1, OWN)
    rolled_out(least=2.0, most=5.0)
    assert cluster.did == ["d gets 2"]
    cluster = Cluster(monkeypatch, 4, OWN)
    rolled_out(least=2.0, most=5.0)
    rolled_out()
    assert cluster.did == []


def test_a_fixed_number_of_pods_outlasts_the_stacks_former_autoscaler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: it wrote its own number again before Pulumi, which deletes last, deleted it."""
    cluster = Cluster(monkeypatch, 3, OWN | {"more": "labels"})
    cluster.others = [4]
    rolled_out(least=3.0)
    assert cluster.did == [f"DELETE {AUTOSCALER}", "d gets 3"]
    assert cluster.replicas == 3


@pytest.mark.parametrize("labels", [None, {}, {"app.kubernetes.io/name": "theirs"}])
def test_an_autoscaler_of_others_is_not_deleted(
    monkeypatch: pytest.MonkeyPatch, labels: Any
) -> None:
    cluster = Cluster(monkeypatch, 3, labels)
    rolled_out(least=3.0)
    assert cluster.did == []


def test_pods_with_clients_end_at_once_when_all_of_them_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: a destroy waited until no node sent requests any more to what was to go."""
    apps, deleted = "/apis/apps/v1/namespaces/n", []
    mine = "labelSelector=app%3Dp"
    found = {
        f"{apps}/deployments/d": {"spec": {"selector": {"matchLabels": {"app": "p"}}}},
        f"{apps}/deployments?fieldSelector=metadata.name=d": {
            "items": [{"metadata": {"name": "d"}}]
        },
        f"{apps}/replicasets?{mine}": {"items": [{"metadata": {"name": "d-1"}}]},
        f"/api/v1/namespaces/n/pods?{mine}": {"items": [{"metadata": {"name": "d-1-x"}}]},
    }
    allowed = True

    def delete(_: Any, path: str) -> None:
        if "/pods/" in path and not allowed:
            raise api.Forbidden("no")
        if "dryRun" not in path:
            deleted.append(path)
        if "gracePeriodSeconds" in path:
            found[f"/api/v1/namespaces/n/pods?{mine}"] = {"items": []}

    def pause(_: float) -> None:
        """Kubernetes takes what was left by its owner away a moment later."""
        del found[next(path for path in reversed(found) if found[path].get("items"))]

    monkeypatch.setattr(roll_out.engine, "pause", pause)
    monkeypatch.setattr(api, "get", lambda _, path: found.get(path))
    monkeypatch.setattr(api, "delete", delete)
    props = {"cluster": CLUSTER, "namespace": "n", "deployment": "d"}
    _RollOutProvider().delete("n/d", props)
    allowed = False
    _RollOutProvider().delete("n/d", props | {"has_clients": True})
    assert deleted == []
    allowed = True
    _RollOutProvider().delete("n/d", props | {"has_clients": True})
    assert deleted == [
        f"{apps}/deployments/d?propagationPolicy=Orphan",
        f"{apps}/replicasets/d-1?propagationPolicy=Orphan",
        "/api/v1/namespaces/n/pods/d-1-x?gracePeriodSeconds=1",
    ]
    # Symptom otherwise: the plugin deletes it in another way, and the Deployment outlives it.
    assert not any(document.get("items") for document in found.values())
    found.clear()
    _RollOutProvider().delete("n/d", props | {"has_clients": True})
    assert len(deleted) == 3
