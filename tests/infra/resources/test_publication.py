"""What a run publishes while it is waited for, in a real S3-compatible store."""

import pytest

from infra.resources.publication import Publication
from store.client import Client, connect
from store.objects import write
from store.urls import S3Url
from tests.infra.resources.conftest import Props
from tests.seaweedfs import SeaweedFS
from tests.store.test_models import put_version

OURS, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def dlstack_client(object_store: SeaweedFS) -> Client:
    return connect(object_store.access(), direct=True)


@pytest.fixture
def props(bucket: str, store: Props) -> Props:
    return {"store": store, "bucket": bucket, "model_name": "mnist", "run_hash": OURS}


def test_it_is_there_when_the_run_has_published_a_version(
    props: Props, dlstack_client: Client
) -> None:
    model = S3Url(props["bucket"], "models/mnist")
    publication = Publication(props)
    assert not publication.is_there()
    put_version(dlstack_client, model, 1, OTHER)
    write(dlstack_client, model / "2/.claim", b"")
    assert not publication.is_there()
    put_version(dlstack_client, model, 2, OURS)
    assert publication.is_there()


def test_what_the_run_had_published_before_is_not_it(props: Props, dlstack_client: Client) -> None:
    """Its Job may be there to say that this version misses a bar that was raised since."""
    put_version(dlstack_client, S3Url(props["bucket"], "models/mnist"), 1, OURS)
    assert not Publication(props).is_there()


def test_a_store_that_is_away_says_nothing(props: Props) -> None:
    away = props["store"] | {"endpoint": "http://127.0.0.1:9"}
    assert not Publication(props | {"store": away, "bucket": "none"}).is_there()
    assert not Publication(props | {"bucket": "none"}).is_there()
