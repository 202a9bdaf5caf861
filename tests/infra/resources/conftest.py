"""A store that providers reach, and a bucket in it.

Reading the credentials from the cluster is replaced here; test_credentials.py covers it.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from infra.cluster import api
from infra.resources import bucket as bucket_module
from infra.resources import connection, moving, ownership
from infra.resources.bucket import _BucketProvider
from store import bucket_marks
from store.client import connect
from tests.seaweedfs import SeaweedFS

Props = dict[str, Any]


NAMESPACE = "/api/v1/namespaces/test"
JOBS = "/apis/batch/v1/namespaces/test/jobs"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Answers of the cluster's API, by path."""
    answers = {NAMESPACE: {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}}
    monkeypatch.setattr(api, "get", lambda _, path: answers.get(path))
    return answers


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the resources said to the terminal of `pulumi up`."""
    lines: list[str] = []
    for module in (bucket_module, moving, ownership):
        monkeypatch.setattr(module, "tell", lambda line, **_: lines.append(line))
    return lines


@pytest.fixture
def store(
    object_store: SeaweedFS, cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Props]:
    """The input `store` of the resources, with credentials that work."""
    monkeypatch.setattr(
        connection,
        "read_variables",
        lambda _: object_store.access().variables,
    )
    yield {
        "endpoint": object_store.endpoint,
        "region": "us-east-1",
        "in_stack": True,
        "cluster": {"context": "", "uid": "", "server": ""},
        "namespace": "test",
        "secret": "object-store",
        "stack_id": "1234",
        "stack": "dlstack-dev",
        "volume": "",
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
        "keys": "",
    }


@pytest.fixture
def bucket(bucket_props: Props) -> str:
    _BucketProvider().create(bucket_props)
    return str(bucket_props["bucket"])


def keys(client: Any, bucket: str) -> list[str]:
    """What is in a bucket besides its mark."""
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [item["Key"] for item in listed if item["Key"] != bucket_marks.KEY]


def no_secrets(outs: Mapping[str, Any] | None, object_store: SeaweedFS) -> bool:
    text = json.dumps(outs)
    return object_store.secret_key not in text and object_store.access_key not in text
