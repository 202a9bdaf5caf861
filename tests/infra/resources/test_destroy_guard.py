"""The dynamic resource that looks into buckets first, against a real S3-compatible store."""

from typing import Any

import pytest

from infra.resources import destroy_guard
from infra.resources.bucket import _BucketProvider
from infra.resources.destroy_guard import _DestroyGuardProvider
from store import bucket_marks
from store.errors import StoreError
from tests.infra.resources.conftest import Props, keys

provider = _DestroyGuardProvider()


@pytest.fixture
def props(bucket: str, store: Props) -> Props:
    guarded = [{"bucket": bucket, "own_prefixes": ["runs/"]}]
    return {"buckets": guarded, "store": store, "force_destroy": False}


def test_the_guard_refuses_what_the_bucket_would_refuse_later(
    props: Props, bucket: str, client: Any
) -> None:
    """Symptom: a refused `destroy` had taken the prediction service down already."""
    client.put_object(Bucket=bucket, Key="runs/1/log.txt", Body=b"own")
    provider.delete("id", props)
    client.put_object(Bucket=bucket, Key="precious.csv", Body=b"data")
    with pytest.raises(StoreError, match="holds 1 object, such as 'precious.csv'"):
        provider.delete("id", props)
    provider.delete("id", props | {"force_destroy": True})
    assert len(keys(client, bucket)) == 2


def test_what_goes_with_the_in_stack_store_is_told(
    props: Props, bucket: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: a `destroy` took every model, and said nothing of them."""
    told: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        destroy_guard, "tell", lambda line, *, stays=False: told.append((line, stays))
    )
    guarded = [{"bucket": bucket, "own_prefixes": ["runs/", "models/"]}]
    provider.delete("id", props | {"buckets": guarded})
    assert told == []
    for version in ("cats/1", "mnist/1", "mnist/12"):
        client.put_object(Bucket=bucket, Key=f"models/{version}/manifest.json", Body=b"{}")
    client.put_object(Bucket=bucket, Key="models/mnist/13/claim.json", Body=b"{}")
    provider.delete("id", props | {"buckets": guarded})
    [(line, stays)] = told
    assert stays
    assert "1 version of the model 'cats', 2 versions of the model 'mnist'. What keeps" in line
    assert "'python -m infra backup FILE'" in line


def test_the_guard_names_what_is_foreign_in_all_buckets(
    props: Props, bucket: str, bucket_props: Props, client: Any
) -> None:
    """Symptom: the second bucket's objects came at the next try only."""
    other = f"{bucket}-2"
    _BucketProvider().create(bucket_props | {"bucket": other})
    guarded = [*props["buckets"], {"bucket": other, "own_prefixes": []}]
    client.put_object(Bucket=bucket, Key="precious.csv", Body=b"data")
    client.put_object(Bucket=other, Key="runs/1/log.txt", Body=b"data")
    with pytest.raises(StoreError, match=rf"'{bucket}' .*precious.csv.*'{other}' .*runs/1/log"):
        provider.delete("id", props | {"buckets": guarded})


def test_the_guard_sees_older_versions_and_unfinished_uploads(
    props: Props, bucket: str, client: Any
) -> None:
    """Symptom: the guard passed, the service was deleted, then both buckets were not empty."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=bucket, Key="precious.csv", Body=b"data")
    client.delete_object(Bucket=bucket, Key="precious.csv")
    client.create_multipart_upload(Bucket=bucket, Key="theirs.bin")
    with pytest.raises(StoreError, match=r"2 objects \(older and deleted versions count"):
        provider.delete("id", props)


def test_the_guard_does_not_look_into_the_bucket_of_another_stack(
    props: Props, bucket: str, store: Props, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="theirs.csv", Body=b"data")
    outside = store | {"in_stack": False, "stack_id": "another"}
    provider.delete("id", props | {"store": outside})
    assert keys(client, bucket) == ["theirs.csv"]


def test_the_guard_has_nothing_to_say_on_a_bucket_that_is_gone(
    props: Props, bucket: str, client: Any
) -> None:
    client.delete_object(Bucket=bucket, Key=bucket_marks.KEY)
    client.delete_bucket(Bucket=bucket)
    provider.delete("id", props)


def test_the_guard_follows_its_inputs(props: Props) -> None:
    created = provider.create(props)
    forced = props | {"force_destroy": True}
    assert created.outs == props
    assert provider.diff(created.id, props, dict(props)).changes is False
    assert provider.diff(created.id, props, forced).changes is True
    assert provider.update(created.id, props, forced).outs == forced
