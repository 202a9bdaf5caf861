"""Which buckets a stack takes for its own, in a real store outside of the stack."""

from typing import Any

import pytest

from infra.resources import ownership
from infra.resources.bucket import _BucketProvider
from store import bucket_marks, buckets
from store.errors import BucketTaken
from tests.infra.resources.conftest import NAMESPACE, Props, keys

provider = _BucketProvider()


@pytest.fixture
def outside(bucket_props: Props, store: Props) -> Props:
    """A bucket in a store of one's own, which others use, too."""
    return bucket_props | {"store": store | {"in_stack": False}, "own_prefixes": []}


@pytest.mark.parametrize("left", [[], [".dlstack-try-1", ".dlstack.json.ballot-1"]])
def test_a_bucket_of_a_creation_that_was_cut_short_is_taken(
    outside: Props, client: Any, left: list[str]
) -> None:
    """Symptom: `pulumi up` killed at the wrong moment, and the bucket refused for ever."""
    client.create_bucket(Bucket=outside["bucket"])
    for key in left:
        client.put_object(Bucket=outside["bucket"], Key=key, Body=b"")
    provider.create(outside)
    provider.create(outside)
    assert keys(client, outside["bucket"]) == left


@pytest.mark.parametrize("kind", ["holds something", "older than the stack", "not its user's"])
def test_any_other_bucket_without_a_mark_is_not(
    outside: Props,
    client: Any,
    cluster: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """`destroy` would delete a bucket that somebody else made."""
    client.create_bucket(Bucket=outside["bucket"])
    if kind == "holds something":
        client.put_object(Bucket=outside["bucket"], Key="theirs", Body=b"data")
    elif kind == "older than the stack":
        cluster[NAMESPACE] = {"metadata": {"creationTimestamp": "2999-01-01T00:00:00Z"}}
    else:
        monkeypatch.setattr(buckets, "created_at", lambda *_: None)
    with pytest.raises(BucketTaken, match="exists already and was not made by this stack"):
        provider.create(outside)
    assert keys(client, outside["bucket"]) == (["theirs"] if kind == "holds something" else [])
    bucket = outside["bucket"]
    marked = ownership.look_into(
        bucket, outside["store"], lambda store: bucket_marks.find(store, bucket) is not None
    )
    assert marked is False


def test_the_bucket_of_another_stack_is_told_from_ones_own(
    outside: Props, store: Props, client: Any
) -> None:
    """Two people with a stack of the same name, each with a back end of their own."""
    provider.create(outside)
    theirs = outside | {"store": outside["store"] | {"stack_id": "5678"}}
    with pytest.raises(BucketTaken, match="stack 'dlstack-dev' .id 1234, since .* dlstack:stackId"):
        provider.create(theirs)
    with pytest.raises(BucketTaken):
        provider.update("id", theirs, theirs)
    assert provider.read("id", theirs).id == ""


def test_the_bucket_of_another_stack_is_not_deleted(
    outside: Props, client: Any, told: list[str]
) -> None:
    provider.create(outside)
    theirs = outside | {"store": outside["store"] | {"stack_id": "5678"}, "force_destroy": True}
    provider.delete("id", theirs)
    assert "belongs to the stack 'dlstack-dev'" in told[0]
    assert provider.read("id", outside).id == "id"


def test_a_bucket_that_is_older_than_marks_gets_one(outside: Props, client: Any) -> None:
    client.create_bucket(Bucket=outside["bucket"])
    client.put_object(Bucket=outside["bucket"], Key="models/mnist/1/manifest.json", Body=b"{}")
    updated = provider.update("id", outside, outside)
    assert updated.outs is not None and updated.outs["bucket_id"]
    assert provider.update("id", outside, outside).outs == updated.outs
