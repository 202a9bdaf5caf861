"""A client of a real store, and a bucket in it for one test."""

from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import pytest

from store import buckets
from store.client import Client, from_environment
from store.errors import NoBucket
from store.objects import delete_many, list_objects
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS


@pytest.fixture
def environment(object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> SeaweedFS:
    """The store's variables in this process."""
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    return object_store


@pytest.fixture
def client(environment: SeaweedFS) -> Iterator[Client]:
    client = from_environment()
    yield client
    client.close()


@pytest.fixture
def bucket(client: Client) -> Iterator[S3Url]:
    """The URL of a new bucket, deleted with all that is in it at the end."""
    url = S3Url(f"store-{uuid4().hex[:12]}")
    buckets.create(client, url.bucket)
    yield url
    with suppress(NoBucket):
        delete_many(client, url.bucket, [entry.path for entry in list_objects(client, url)])
    buckets.delete(client, url.bucket)
