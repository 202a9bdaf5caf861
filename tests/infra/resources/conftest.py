"""A store that providers reach, and a bucket in it.

Reading the credentials from the cluster is replaced here; test_credentials.py covers it.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from infra.resources import connection
from infra.resources.bucket import _BucketProvider
from store.client import connect
from tests.infra.conftest import ANY_CLUSTER
from tests.seaweedfs import SeaweedFS

Props = dict[str, Any]


@pytest.fixture
def store(object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Props]:
    """The input `store` of the resources, with credentials that work."""
    monkeypatch.setattr(
        connection,
        "read_credentials",
        lambda _: (object_store.access_key, object_store.secret_key),
    )
    yield {
        "endpoint": object_store.endpoint,
        "region": "us-east-1",
        "in_stack": True,
        "cluster": ANY_CLUSTER,
        "namespace": "test",
        "secret": "object-store",
    }
    connect.cache_clear()


@pytest.fixture
def client(object_store: SeaweedFS) -> Any:
    return object_store.client()


@pytest.fixture
def name(client: Any) -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bucket_props(name: str, store: Props) -> Props:
    return {
        "bucket": name,
        "store": store,
        "own_prefixes": ["runs/", "models/"],
        "force_destroy": False,
    }


@pytest.fixture
def bucket(bucket_props: Props) -> str:
    _BucketProvider().create(bucket_props)
    return str(bucket_props["bucket"])


def keys(client: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def no_secrets(outs: Mapping[str, Any] | None, object_store: SeaweedFS) -> bool:
    text = json.dumps(outs)
    return object_store.secret_key not in text and object_store.access_key not in text
