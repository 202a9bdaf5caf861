"""The dynamic resource that looks into buckets first, against a real S3-compatible store."""

from typing import Any

import pytest

from infra.resources.destroy_guard import _DestroyGuardProvider
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
    with pytest.raises(StoreError, match="holds 1 object .* 'precious.csv'"):
        provider.delete("id", props)
    provider.delete("id", props | {"force_destroy": True})
    assert len(keys(client, bucket)) == 2


def test_the_guard_has_nothing_to_say_on_a_bucket_that_is_gone(
    props: Props, bucket: str, client: Any
) -> None:
    client.delete_bucket(Bucket=bucket)
    provider.delete("id", props)


def test_the_guard_follows_its_inputs(props: Props) -> None:
    created = provider.create(props)
    forced = props | {"force_destroy": True}
    assert created.outs == props
    assert provider.diff(created.id, props, dict(props)).changes is False
    assert provider.diff(created.id, props, forced).changes is True
    assert provider.update(created.id, props, forced).outs == forced
