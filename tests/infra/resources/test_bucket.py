"""The dynamic provider of buckets, against a real S3-compatible store."""

from typing import Any

import pytest

from infra.resources import connection
from infra.resources.bucket import _BucketProvider
from store.errors import BucketTaken, Gone, StoreError, Unreachable, WrongCredentials
from tests.infra.resources.conftest import Props, keys, no_secrets
from tests.seaweedfs import SeaweedFS

provider = _BucketProvider()


def test_a_bucket_is_created_read_and_deleted(
    bucket_props: Props, client: Any, object_store: SeaweedFS
) -> None:
    created = provider.create(bucket_props)
    assert created.outs == bucket_props
    assert no_secrets(created.outs, object_store)
    assert provider.read(created.id, bucket_props).id == created.id
    provider.delete(created.id, bucket_props)
    assert provider.read(created.id, bucket_props).id == ""
    provider.delete(created.id, bucket_props)


def test_a_bucket_is_never_adopted(bucket_props: Props, client: Any) -> None:
    """`destroy` would delete a bucket that somebody else made."""
    client.create_bucket(Bucket=bucket_props["bucket"])
    with pytest.raises(BucketTaken, match="exists already and was not made by this stack"):
        provider.create(bucket_props)


def test_a_bucket_goes_with_what_the_stacks_jobs_wrote(
    bucket: str, bucket_props: Props, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="models/mnist/1/manifest.json", Body=b"{}")
    provider.delete(bucket, bucket_props)
    assert provider.read(bucket, bucket_props).id == ""


def test_a_bucket_with_foreign_objects_is_refused_and_loses_nothing(
    bucket: str, bucket_props: Props, client: Any
) -> None:
    for key in ("precious.csv", "notes/1.txt", "models/mnist/1/manifest.json"):
        client.put_object(Bucket=bucket, Key=key, Body=b"data")
    with pytest.raises(StoreError, match="holds 2 objects .* 'notes/1.txt', 'precious.csv'"):
        provider.delete(bucket, bucket_props)
    assert len(keys(client, bucket)) == 3


def test_a_bucket_with_foreign_objects_goes_by_force(
    bucket: str, bucket_props: Props, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="precious.csv", Body=b"data")
    provider.delete(bucket, bucket_props | {"force_destroy": True})
    assert provider.read(bucket, bucket_props).id == ""


def test_another_name_replaces_it(bucket_props: Props) -> None:
    diff = provider.diff("id", bucket_props, bucket_props | {"bucket": "other"})
    assert (diff.changes, diff.replaces) == (True, ["bucket"])


def test_another_port_of_the_same_store_does_not_replace_it(
    bucket_props: Props, store: Props
) -> None:
    moved = bucket_props | {"store": store | {"endpoint": "http://127.0.0.1:1"}}
    diff = provider.diff("id", bucket_props, moved)
    assert (diff.changes, diff.replaces) == (True, [])
    assert provider.update("id", bucket_props, moved).outs == moved


def test_the_same_inputs_change_nothing(bucket_props: Props) -> None:
    assert provider.diff("id", bucket_props, dict(bucket_props)).changes is False


def test_an_empty_own_prefix_is_refused(bucket_props: Props) -> None:
    result = provider.check({}, bucket_props | {"own_prefixes": [""]})
    assert [failure.property for failure in result.failures] == ["own_prefixes"]


def test_a_bucket_of_an_in_stack_store_is_gone_with_its_namespace(
    bucket_props: Props, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "read_credentials", _secret_gone)
    provider.delete("id", bucket_props)
    assert provider.read("id", bucket_props).id == ""


def test_a_bucket_of_another_store_is_not(
    bucket_props: Props, store: Props, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials nothing is known of it: neither gone nor deleted."""
    monkeypatch.setattr(connection, "read_credentials", _secret_gone)
    outside = bucket_props | {"store": store | {"in_stack": False}}
    assert provider.read("id", outside).id == "id"
    with pytest.raises(Gone, match="Secret"):
        provider.delete("id", outside)


def _secret_gone(_: object) -> tuple[str, str]:
    raise Gone("The Secret is gone.")


@pytest.mark.parametrize("wrong", ["access", "secret"])
def test_wrong_credentials_are_told(
    bucket_props: Props,
    object_store: SeaweedFS,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    pair = (
        "WRONG" if wrong == "access" else object_store.access_key,
        "hunter2" if wrong == "secret" else object_store.secret_key,
    )
    monkeypatch.setattr(connection, "read_credentials", lambda _: pair)
    with pytest.raises(WrongCredentials, match="refused the credentials") as caught:
        provider.create(bucket_props)
    assert "hunter2" not in str(caught.value)


def test_a_store_that_does_not_answer_is_told(bucket_props: Props, store: Props) -> None:
    nowhere = store | {"endpoint": "http://127.0.0.1:9", "in_stack": False}
    with pytest.raises(Unreachable, match="'http://127.0.0.1:9' can't be reached"):
        provider.create(bucket_props | {"store": nowhere})


def test_a_name_that_the_store_does_not_take_is_told(bucket_props: Props) -> None:
    with pytest.raises(StoreError, match="InvalidBucketName"):
        provider.create(bucket_props | {"bucket": "No_Bucket"})
