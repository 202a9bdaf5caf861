"""The dynamic resource that reads a published model, from a real S3-compatible store."""

from typing import Any

import pytest

from infra.resources import published_model
from infra.resources.published_model import NotPublished
from store import buckets
from store.client import Client, connect
from store.errors import StoreError
from store.objects import delete_many, list_objects, write
from store.urls import S3Url
from tests.infra.resources.conftest import Props
from tests.seaweedfs import SeaweedFS
from tests.store.test_models import a_second_later, put_version

provider = published_model._PublishedModelProvider()

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def dlstack_client(object_store: SeaweedFS) -> Client:
    return connect(object_store.access(), direct=True)


@pytest.fixture
def props(bucket: str, store: Props, dlstack_client: Client) -> Props:
    """Three runs published; the fourth claimed its number and failed."""
    model = S3Url(bucket, "models/mnist")
    for version, run_hash in ((1, A), (2, B), (10, A)):
        put_version(dlstack_client, model, version, run_hash, metrics={"accuracy": version / 100})
    write(dlstack_client, model / "11/.claim", b"")
    return {
        "bucket": bucket,
        "model_name": "mnist",
        "wanted_run_hash": A,
        "wanted_version": None,
        "attempt": 1.0,
        "seen": None,
        "store": store,
    }


def created(props: Props) -> Props:
    outs = provider.create(props).outs
    assert outs is not None
    return outs


def test_the_model_is_the_newest_that_the_run_published(props: Props) -> None:
    outs = created(props)
    assert (outs["version"], outs["metrics"]) == (10, {"accuracy": 0.1})


def test_the_model_is_the_pinned_version_whatever_made_it(props: Props) -> None:
    # No run is planned then, and the engine leaves out what is None.
    pinned = {key: value for key, value in props.items() if key != "wanted_run_hash"}
    outs = provider.update("id", props, pinned | {"wanted_version": 2.0}).outs
    assert outs is not None
    assert (outs["version"], outs["run_hash"]) == (2, B)


@pytest.mark.parametrize("wanted", [{"wanted_version": 11}, {"wanted_run_hash": C}])
def test_a_missing_one_lists_what_is_there(props: Props, wanted: Props) -> None:
    with pytest.raises(StoreError, match=r"modelVersion to one of .*: 10, 2, 1\."):
        provider.create(props | wanted)


def test_where_none_is_published_none_is_advised(props: Props) -> None:
    """Symptom: "Set dlstack:modelVersion to one of the versions in '…': none"."""
    with pytest.raises(NotPublished) as refused:
        provider.create(props | {"model_name": "other", "wanted_version": 3.0})
    text = str(refused.value)
    assert "Version 3 of the model 'other' is not published. " in text
    assert "Restore a backup: 'python -m infra restore FILE'. Or remove the pin, and the" in text
    assert "none" not in text and "Set dlstack:modelVersion" not in text
    with pytest.raises(NotPublished, match="Run 'pulumi up' again: it publishes one.$"):
        provider.create(props | {"model_name": "other", "wanted_run_hash": C})


def test_a_damaged_version_is_neither_served_nor_advised(
    props: Props, dlstack_client: Client
) -> None:
    """Symptom otherwise: the next pod can't fetch it, and the service is down."""
    model = S3Url(props["bucket"], "models/mnist")
    a_second_later(dlstack_client, model / "10/saved_model.pb", b"GRAPH")
    assert created(props)["version"] == 1
    problem = r"Version 10 .* is damaged: '.*/10/saved_model.pb' has 5 bytes .*: 2, 1\. Or remove"
    with pytest.raises(NotPublished, match=problem):
        provider.create(props | {"wanted_version": 10.0})
    write(dlstack_client, model / "2/manifest.json", b"{")
    with pytest.raises(NotPublished, match="2/manifest.json' is not a manifest .* there: 1\\."):
        provider.create(props | {"wanted_run_hash": B})


def test_a_refresh_sees_that_the_version_is_gone_or_damaged(
    props: Props, dlstack_client: Client, client: Any
) -> None:
    """Then the next `up` looks for another one."""
    outs = created(props)
    found = provider.read("mnist", outs)
    assert found.id == "mnist" and found.outs == outs
    client.delete_object(Bucket=props["bucket"], Key="models/mnist/10/manifest.json")
    found = provider.read("mnist", outs)
    assert found.id == "mnist" and found.outs is not None and found.outs["version"] is None
    assert provider.diff("mnist", found.outs, props).changes is True


def test_a_refresh_keeps_the_version_while_the_store_is_away(props: Props) -> None:
    outs = created(props)
    away = outs | {"store": props["store"] | {"endpoint": "http://127.0.0.1:9"}}
    assert provider.read("mnist", away).outs == away


def test_a_refresh_sees_that_the_bucket_is_gone(
    props: Props, bucket: str, dlstack_client: Client
) -> None:
    """Symptom: the bucket was made anew, and nobody noticed that its models were not there."""
    outs = created(props)
    url = S3Url(bucket)
    delete_many(dlstack_client, bucket, [one.path for one in list_objects(dlstack_client, url)])
    buckets.delete(dlstack_client, bucket)
    found = provider.read("mnist", outs)
    assert found.outs is not None and found.outs["version"] is None


def test_another_run_is_an_update(props: Props) -> None:
    outs = created(props)
    assert provider.diff("id", outs, props).changes is False
    changed = provider.diff("id", outs, props | {"wanted_run_hash": B})
    assert (changed.changes, changed.replaces) == (True, [])


@pytest.mark.parametrize(
    ("news", "changes"),
    [({"attempt": 2.0}, True), ({"seen": 10.0}, False), ({"seen": 12.0}, True)],
)
def test_another_attempt_and_another_version_are_looked_at(
    props: Props, news: Props, changes: bool
) -> None:
    """Symptom otherwise: a run that was published again went on to serve what was lost."""
    assert provider.diff("id", created(props), props | news).changes is changes
