"""Published models in a real bucket: which there are, and whether they are as published."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from store.client import Client
from store.models import (
    Damaged,
    newest_of_run,
    parse_manifest,
    published,
    read_manifest,
    require_intact,
    versions,
)
from store.objects import delete, write
from store.urls import S3Url

FILES = {"saved_model.pb": b"graph", "variables/weights": b"weights"}
METRICS = {"loss": 0.5}


@pytest.fixture
def model(bucket: S3Url) -> S3Url:
    return bucket / "models/toy"


def put_version(
    client: Client,
    model: S3Url,
    number: int,
    run: str,
    files: Mapping[str, bytes] = FILES,
    metrics: Mapping[str, float] = METRICS,
    **more: Any,
) -> S3Url:
    """Publish as the agent does."""
    url = model / str(number)
    for path, content in files.items():
        write(client, url / path, content)
    listed = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in files.items()
    ]
    manifest = {"version": number, "run_hash": run, "metrics": metrics, "files": listed} | more
    write(client, url / "manifest.json", json.dumps(manifest).encode())
    return url


def a_second_later(client: Client, url: S3Url, content: bytes) -> None:
    """Put an object when the store's clock shows another second than before."""
    time.sleep(1.1)
    write(client, url, content)


def check(client: Client, url: S3Url, *, thoroughly: bool = False) -> None:
    (version,) = [one for one in published(client, S3Url(url.bucket, "models/toy"))]
    require_intact(client, version, read_manifest(client, url), thoroughly=thoroughly)


def test_versions_are_numbers_that_were_claimed_and_published_with_a_manifest(
    client: Client, model: S3Url
) -> None:
    for number in (1, 2, 10):
        put_version(client, model, number, "a")
    write(client, model / "11/.claim", b"{}")
    for other in ("0/manifest.json", "03/manifest.json", "-4/manifest.json", "latest/x", "5"):
        write(client, model / other, b"{}")
    assert [one.number for one in versions(client, model)] == [11, 10, 2, 1]
    assert [one.number for one in published(client, model)] == [10, 2, 1]


def test_the_newest_version_of_a_run_is_found(client: Client, model: S3Url) -> None:
    for number in range(1, 20):
        put_version(client, model, number, "a" if number in (1, 2) else "b", {})
    found = newest_of_run(client, model, "a")
    assert found.version is not None and found.manifest is not None
    assert (found.version.number, found.version.url) == (2, model / "2")
    assert (found.manifest.metrics, found.damaged) == (METRICS, [])
    assert newest_of_run(client, model, "c").version is None


def test_a_version_as_it_was_published_is_intact_and_not_read_again(
    client: Client, model: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put_version(client, model, 1, "a")
    asked: list[str] = []
    get = client.s3.get_object
    monkeypatch.setattr(
        client.s3, "get_object", lambda **words: asked.append(words["Key"]) or get(**words)
    )
    check(client, url)
    assert asked == ["models/toy/1/manifest.json"]
    check(client, url, thoroughly=True)
    assert len(asked) == 4


def test_what_is_missing_or_of_another_size_is_damage(client: Client, model: S3Url) -> None:
    url = put_version(client, model, 1, "a")
    write(client, url / "variables/weights", b"longer weights")
    with pytest.raises(Damaged, match=r"1/variables/weights' has 14 bytes, its manifest says 7\."):
        check(client, url)
    delete(client, url / "variables/weights")
    with pytest.raises(Damaged, match="weights' is in the manifest but not in the bucket"):
        check(client, url)


def test_what_was_written_after_the_manifest_is_compared(client: Client, model: S3Url) -> None:
    url = put_version(client, model, 1, "a")
    a_second_later(client, url / "variables/weights", b"weights")
    check(client, url)
    write(client, url / "variables/weights", b"WEIGHTS")
    with pytest.raises(Damaged, match="has 7 bytes with SHA-256 .*, its manifest says 7 and "):
        check(client, url)


def test_a_damaged_version_is_passed_over_and_named(client: Client, model: S3Url) -> None:
    for number in (1, 2, 3):
        put_version(client, model, number, "a")
    delete(client, model / "3/saved_model.pb")
    write(client, model / "2/manifest.json", b"{")
    found = newest_of_run(client, model, "a")
    assert found.version is not None and found.version.number == 1
    named = [str(one) for one in found.damaged]
    # That of version 2 might be of any run.
    assert len(named) == 2
    assert any("3/saved_model.pb' is in the manifest" in text for text in named)
    assert any("2/manifest.json' is not a manifest" in text for text in named)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"files": [{"path": "a"}]}', b'{"files": [], "metrics": 3}'],
)
def test_what_is_no_manifest_is_named(content: bytes) -> None:
    with pytest.raises(Damaged, match="'x' is not a manifest"):
        parse_manifest(content, "x")


@pytest.mark.parametrize("path", ["/etc/passwd", "../2/saved_model.pb", ""])
def test_a_file_outside_of_the_version_is_refused(path: str) -> None:
    entry = {"path": path, "size": 1, "sha256": "0"}
    with pytest.raises(Damaged, match="names a file outside its version"):
        parse_manifest(json.dumps({"files": [entry]}).encode(), "x")
