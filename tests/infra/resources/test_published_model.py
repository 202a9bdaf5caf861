"""The dynamic resource that reads a published model, from a real S3-compatible store."""

import json
from typing import Any

import pytest

from infra.resources import published_model
from store.errors import StoreError
from tests.infra.resources.conftest import Props

provider = published_model._PublishedModelProvider()


@pytest.fixture
def props(bucket: str, store: Props, client: Any) -> Props:
    """Three runs published; the fourth claimed its number and failed."""
    for version, run_hash in ((1, "a" * 64), (2, "b" * 64), (10, "a" * 64)):
        manifest = {"run_hash": run_hash, "metrics": {"accuracy": version / 100}}
        client.put_object(
            Bucket=bucket,
            Key=f"models/mnist/{version}/manifest.json",
            Body=json.dumps(manifest).encode(),
        )
    client.put_object(Bucket=bucket, Key="models/mnist/11/.claim", Body=b"")
    return {
        "bucket": bucket,
        "model_name": "mnist",
        "wanted_run_hash": "a" * 64,
        "store": store,
    }


def test_the_model_is_the_newest_that_the_run_published(props: Props) -> None:
    outs = provider.create(props).outs
    assert outs is not None
    assert (outs["version"], outs["metrics"]) == (10, {"accuracy": 0.1})


def test_the_model_is_the_pinned_version_whatever_made_it(props: Props) -> None:
    outs = provider.update("id", props, props | {"wanted_version": 2.0}).outs
    assert outs is not None
    assert (outs["version"], outs["run_hash"]) == (2, "b" * 64)


@pytest.mark.parametrize("wanted", [{"wanted_version": 11}, {"wanted_run_hash": "c" * 64}])
def test_a_missing_one_lists_what_is_there(props: Props, wanted: Props) -> None:
    with pytest.raises(StoreError, match=r"modelVersion to one of .*: 10, 2, 1\."):
        provider.create(props | wanted)


def test_an_unreadable_manifest_is_named(props: Props, client: Any) -> None:
    key = "models/mnist/10/manifest.json"
    client.put_object(Bucket=props["bucket"], Key=key, Body=b"{")
    with pytest.raises(StoreError, match=f"{key}' is not a model's manifest"):
        provider.create(props)


def test_another_run_is_an_update(props: Props) -> None:
    outs = provider.create(props).outs
    assert outs is not None
    assert provider.diff("id", outs, props).changes is False
    changed = provider.diff("id", outs, props | {"wanted_run_hash": "b" * 64})
    assert (changed.changes, changed.replaces) == (True, [])
