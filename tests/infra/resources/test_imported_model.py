"""The dynamic resource that copies a model from elsewhere, between buckets of a real store."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.resources import imported_model
from infra.run import checksums
from store import model_sources
from store.client import Client, connect
from store.errors import Changed
from store.models import published
from store.objects import delete, read, write
from store.urls import S3Url
from tests.infra.resources.conftest import Props, no_secrets
from tests.seaweedfs import SeaweedFS
from tests.store.test_model_sources import FILES, put_plain
from tests.store.test_models import put_version

provider = imported_model._ImportedModelProvider()

RUN = "a" * 64
PROVENANCE = {"boot_file": "train.py", "commit": "c" * 40}


@pytest.fixture
def dlstack_client(object_store: SeaweedFS) -> Client:
    return connect(object_store.access(), direct=True)


@pytest.fixture
def source(bucket: str, dlstack_client: Client) -> S3Url:
    """Of another stack, whose bucket is this folder of ours."""
    url = S3Url(bucket, "elsewhere/models/houses")
    put_version(
        *(dlstack_client, url, 5, RUN, FILES, {"accuracy": 0.97}),
        model_name="houses",
        created="2026-11-20T10:00:00+00:00",
        parameters={"epochs": "3"},
        provenance=PROVENANCE,
    )
    return url


@pytest.fixture
def props(bucket: str, store: Props, source: S3Url, dlstack_client: Client) -> Props:
    return {
        "source": "Version 5 of the model 'houses' of the stack 'dlstack-dev'",
        "given": "stack:dev/5",
        "source_url": str(source / "5"),
        "source_store": store,
        "identity": model_sources.find(dlstack_client, source / "5").identity,
        "seen": 0.0,
        "bucket": bucket,
        "model_name": "mnist",
        "store": store,
    }


def created(props: Props) -> Props:
    outs = provider.create(props).outs
    assert outs is not None
    return outs


def numbers(client: Client, props: Props) -> list[int]:
    return [one.number for one in published(client, S3Url(props["bucket"], "models/mnist"))]


def manifest(client: Client, props: Props, version: int) -> dict[str, Any]:
    url = S3Url(props["bucket"], f"models/mnist/{version}/manifest.json")
    return dict(json.loads(read(client, url)))


def test_the_copy_keeps_what_was_measured_and_tells_where_it_comes_from(
    props: Props, dlstack_client: Client, object_store: SeaweedFS
) -> None:
    outs = created(props)
    assert (outs["version"], outs["run_hash"]) == (1, RUN)
    assert outs["metrics"] == {"accuracy": 0.97}
    told = manifest(dlstack_client, props, 1)
    assert (told["model_name"], told["provenance"]) == ("mnist", PROVENANCE)
    assert told["origin"] == {
        "given": "stack:dev/5",
        "place": props["source_url"],
        "identity": props["identity"],
        "model_name": "houses",
        "version": 5,
        "created": "2026-11-20T10:00:00+00:00",
    }
    assert outs["provenance"] == {
        **PROVENANCE,
        **{key: told[key] for key in ("parameters", "created", "seconds", "origin")},
    }
    assert no_secrets(outs, object_store)


def test_the_same_content_is_the_same_version(props: Props, dlstack_client: Client) -> None:
    outs = created(props)
    assert provider.diff("id", outs, props | {"seen": 1.0}).changes is False
    # By another name it is no other model, and after another one it is found again.
    renamed = props | {"source_url": "s3://x/y", "given": "s3://x/y", "seen": 1.0}
    assert provider.diff("id", outs, renamed).changes is False
    assert created(renamed)["version"] == 1
    assert numbers(dlstack_client, props) == [1]


def test_another_content_is_the_next_version_and_the_first_one_is_found_again(
    props: Props, source: S3Url, dlstack_client: Client
) -> None:
    outs = created(props)
    put_version(dlstack_client, source, 6, "b" * 64, FILES | {"variables/weights": b"better"})
    found = model_sources.find(dlstack_client, source)
    other = props | {"source_url": str(found.place), "identity": found.identity}
    assert provider.diff("id", outs, other).changes is True
    after = provider.update("id", outs, other).outs
    assert after is not None and (after["version"], after["run_hash"]) == (2, "b" * 64)
    back = provider.update("id", after, props).outs
    assert back is not None and back["version"] == 1
    assert numbers(dlstack_client, props) == [2, 1]


def test_a_plain_saved_model_is_published_with_checksums(
    props: Props, bucket: str, dlstack_client: Client
) -> None:
    url = S3Url(bucket, "own/model")
    put_plain(dlstack_client, url)
    found = model_sources.find(dlstack_client, url)
    outs = created(props | {"source_url": str(url), "identity": found.identity})
    assert (outs["version"], outs["metrics"]) == (1, {})
    assert outs["run_hash"] == found.identity
    # What was read is known by its content, too: the same files from elsewhere are no other model.
    elsewhere = S3Url(bucket, "elsewhere/models/houses/5")
    same = model_sources.find(dlstack_client, elsewhere)
    again = props | {"source_url": str(elsewhere), "identity": same.identity}
    assert created(again)["version"] == 1


def test_a_folder_of_this_machine_is_uploaded(
    props: Props, tmp_path: Path, dlstack_client: Client
) -> None:
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    found = model_sources.in_folder(tmp_path, checksums.of)
    local = props | {"source_url": str(tmp_path), "identity": found.identity}
    del local["source_store"]
    assert created(local)["version"] == 1
    assert numbers(dlstack_client, props) == [1]


def test_what_changed_since_the_preview_is_not_copied(
    props: Props, source: S3Url, dlstack_client: Client
) -> None:
    put_version(dlstack_client, source, 5, RUN, FILES | {"variables/weights": b"other"})
    with pytest.raises(Changed, match="Version 5 of the model 'houses' .* has changed just now"):
        provider.create(props)
    assert numbers(dlstack_client, props) == []


def test_a_lost_or_damaged_copy_is_seen_and_made_again(
    props: Props, dlstack_client: Client
) -> None:
    outs = created(props)
    assert provider.read("id", outs).outs == outs
    write(dlstack_client, S3Url(props["bucket"], "models/mnist/1/saved_model.pb"), b"")
    refreshed = provider.read("id", outs).outs
    assert refreshed is not None and refreshed["version"] is None
    assert provider.diff("id", refreshed, props).changes is True
    # The program has looked, and seen no copy.
    assert provider.diff("id", outs, props | {"seen": 0.0}).changes is True
    again = provider.update("id", outs, props).outs
    assert again is not None and again["version"] == 2


def test_a_copy_is_found_by_where_it_came_from_when_that_is_gone(
    props: Props, source: S3Url, dlstack_client: Client
) -> None:
    created(props)
    for path in [*FILES, "manifest.json"]:
        delete(dlstack_client, source / "5" / path)
    url = S3Url(props["bucket"], "models/mnist")
    found = imported_model.find_copy(dlstack_client, url, given="stack:dev/5")
    assert found is not None and found[0].number == 1
    assert imported_model.find_copy(dlstack_client, url, given="stack:dev") is None
    # The copy needs it no more.
    assert provider.update("id", props, props).outs is not None
