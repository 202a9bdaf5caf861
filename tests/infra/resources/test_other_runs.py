"""The dynamic resource that ends training runs which are not wanted any more.

The cluster is a fake, the store a real one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pytest

from infra.cluster import api, ending
from infra.resources import connection, other_runs
from store.errors import Forbidden
from tests.infra.conftest import CLUSTER
from tests.infra.resources.conftest import Props, keys
from tests.seaweedfs import SeaweedFS

provider = other_runs._OtherRunsProvider()
PLACE = "/apis/batch/v1/namespaces/test/jobs"
PODS = "/api/v1/namespaces/test/pods"


def job(name: str, condition: str | None = None, run: str | None = "a" * 64) -> dict[str, Any]:
    annotations = {"dlstack.dev/run-hash": run} if run else {}
    conditions = [{"type": condition, "status": "True"}] if condition else []
    return {
        "metadata": {"name": name},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
        "status": {"conditions": conditions},
    }


@dataclass
class Cluster:
    """Jobs, each with a pod that ends when its Job is suspended."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    stuck: bool = False
    lost: list[dict[str, Any]] = field(default_factory=list)
    """Pods that are told to end on the node `two`, which is silent."""

    def get(self, _cluster: Any, path: str) -> dict[str, Any]:
        if path == PLACE:
            return {"items": list(self.jobs.values())}
        if path == f"{PODS}?labelSelector=app.kubernetes.io%2Fpart-of%3Ddlstack":
            return {"items": self.lost}
        if path == "/api/v1/nodes/two":
            return {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
        assert path.startswith(f"{PODS}?labelSelector=")
        name = path.rpartition("%3D")[2]
        running = [
            {"metadata": {"name": f"{one}-pod"}, "status": {"phase": "Running"}}
            for one, job in self.jobs.items()
            if name in (one, "training") and (self.stuck or not job["spec"].get("suspend"))
        ]
        self.done.append(f"looked for pods of {name}")
        return {"items": running}

    def patch(self, _cluster: Any, path: str, document: dict[str, Any]) -> None:
        if path.startswith(PODS):
            self.done.append(f"gave up {path.split('/')[-2]}")
            return
        name = path.removeprefix(f"{PLACE}/")
        self.jobs[name]["spec"] |= document["spec"]
        self.done.append(f"suspended {name}")

    def delete(self, _cluster: Any, path: str) -> None:
        if path.startswith(PODS):
            return
        name = path.removeprefix(f"{PLACE}/").partition("?")[0]
        del self.jobs[name]
        self.done.append(f"deleted {name}")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    one = Cluster()
    for name in ("get", "patch", "delete"):
        monkeypatch.setattr(api, name, getattr(one, name))
    monkeypatch.setattr(api, "events", lambda *_: iter(()))
    return one


@pytest.fixture
def put(cluster: Cluster) -> Iterator[Callable[..., None]]:
    def put(*jobs: dict[str, Any]) -> None:
        cluster.jobs |= {one["metadata"]["name"]: one for one in jobs}

    yield put


Wanted = Callable[..., Props]


@pytest.fixture
def props(store: Props, bucket: str) -> Wanted:
    def wanted(keep: str, *others: str) -> Props:
        return of(keep, *others) | {"store": store, "output_bucket": bucket}

    return wanted


def of(keep: str, *others: str) -> Props:
    return {"cluster": CLUSTER, "namespace": "test", "keep": keep, "others": list(others)}


def test_all_others_are_ended_before_the_wanted_one_begins(
    cluster: Cluster, put: Callable[..., None], props: Wanted
) -> None:
    """And those that nobody knows are deleted; the one of the state is Pulumi's to delete."""
    put(job("old"), job("orphan"), job("ended", "Complete"), job("new"), job("foreign", run=None))
    provider.update("id", props("old"), props("new", "old", "orphan", "ended"))
    assert cluster.done == [
        *("suspended old", "suspended orphan"),
        *("looked for pods of old", "looked for pods of orphan"),
        *("deleted orphan", "deleted ended"),
    ]
    assert sorted(cluster.jobs) == ["foreign", "new", "old"]


def test_a_new_stack_knows_none_of_those_that_are_there(
    cluster: Cluster, put: Callable[..., None], props: Wanted
) -> None:
    put(job("of a killed up"))
    provider.create(props("new", "of a killed up"))
    assert cluster.jobs == {}


def test_destroy_ends_all_before_the_buckets_are_emptied(
    cluster: Cluster, put: Callable[..., None]
) -> None:
    put(job("one"), job("two", "Failed"))
    provider.delete("id", of("one"))
    assert cluster.jobs == {} and cluster.done[-1] == "looked for pods of training"


def test_destroy_gives_up_what_a_lost_node_holds(
    cluster: Cluster, put: Callable[..., None]
) -> None:
    """Symptom otherwise: the namespace can't go, and `destroy` fails after ten minutes."""
    store = {"name": "store", "uid": "1", "deletionTimestamp": "2026-03-01T10:00:00Z"}
    cluster.lost = [
        {"metadata": store, "spec": {"nodeName": "two"}, "status": {"phase": "Running"}}
    ]
    provider.delete("id", of(""))
    assert cluster.done[-1] == "gave up store"


def test_a_pod_that_does_not_end_is_named_with_the_way_out(
    cluster: Cluster,
    put: Callable[..., None],
    props: Wanted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending, "_END_SECONDS", 0.1)
    cluster.stuck = True
    put(job("old"))
    with pytest.raises(
        pulumi.RunError, match=r"'old-pod', .* its node: 'kubectl get pod .* test old-pod'"
    ):
        provider.create(props("new", "old"))
    # Without another run nobody waits for it.
    cluster.jobs.clear()
    put(job("old"))
    provider.create(props("", "old"))


@pytest.mark.parametrize(
    ("news", "changes"), [(of("a"), False), (of("b"), True), (of("a", "c"), True)]
)
def test_it_acts_when_another_run_is_wanted_or_others_are_there(news: Props, changes: bool) -> None:
    assert provider.diff("id", of("a", "earlier"), news).changes is changes


def test_a_run_trains_on_where_the_next_one_could_not_keep_what_it_makes(
    cluster: Cluster,
    put: Callable[..., None],
    props: Wanted,
    bucket: str,
    client: Any,
    object_store: SeaweedFS,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: the run was ended, and the next one failed since the store was read-only."""
    put(job("old"))
    reader = object_store.access(access_key=object_store.reader_key).variables
    monkeypatch.setattr(connection, "read_variables", lambda _: reader)
    with pytest.raises(Forbidden, match=f"Can't write to the bucket '{bucket}': "):
        provider.update("id", props("old"), props("new", "old"))
    assert cluster.done == []
    # What is wanted anyway, or nothing, needs no store.
    provider.update("id", props("old"), props("old"))
    provider.update("id", props("old"), props("", "old"))
    assert cluster.done == ["suspended old"]
    assert keys(client, bucket) == []
