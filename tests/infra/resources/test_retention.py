"""`dlstack:keepVersions` at the end of an `up`. What can go: tests/store/test_pruning.py."""

from pathlib import Path
from typing import Any

import pytest

from infra.cluster import api
from infra.resources import connection, retention
from infra.resources.retention import _RetentionProvider
from store import folders, models
from store.client import Client
from store.urls import S3Url
from tests.infra.resources.conftest import Props
from tests.store.test_models import put_version

provider = _RetentionProvider()


@pytest.fixture
def props(bucket: str, store: Props, monkeypatch: pytest.MonkeyPatch) -> Props:
    monkeypatch.setattr(api, "items", lambda *_: [])
    return {
        "keep": 2.0,
        "model_name": "m",
        "versions": [{"model_name": "m", "version": 4.0}],
        "folders": [f"s3://{bucket}/folders/{'0' * 64}", "s3://mine/data", ""],
        "buckets": [bucket, bucket],
        "store": store,
    }


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(retention, "tell", lambda line, **_: lines.append(line))
    return lines


@pytest.fixture
def model(props: Props, bucket: str) -> tuple[Client, S3Url]:
    client, url = connection.connect(props["store"]), S3Url(bucket, "models/m")
    for number in range(1, 6):
        put_version(client, url, number, f"{number}" * 64)
    put_version(client, S3Url(bucket, "models/other"), 1, "a" * 64)
    return client, url


def numbers(model: tuple[Client, S3Url]) -> list[int]:
    return [one.number for one in models.published(*model)]


def test_old_versions_go_and_it_is_told(
    props: Props, model: tuple[Client, S3Url], told: list[str]
) -> None:
    created = provider.create(props)
    assert created.outs == props
    assert numbers(model) == [5, 4]
    [line] = told
    assert "dlstack:keepVersions is 2: versions 1, 2, 3, with what only they needed (" in line
    assert "deleted." in line
    # Another version serves by now: one that was rolled back to, and is not among the newest.
    put_version(*model, 6, "6" * 64)
    put_version(*model, 7, "7" * 64)
    provider.update("retention", props, props)
    assert numbers(model) == [7, 6, 4]
    assert "is 2, and m 4 stays: it serves, or is configured to. 'python -m infra" in told[1]
    assert "version 5, with what only it needed" in told[2] and len(told) == 3


def test_it_runs_when_something_new_serves_and_never_for_nothing(props: Props) -> None:
    assert provider.diff("", props, props).changes is False
    for changed in ({"keep": 3.0}, {"versions": []}, {"folders": []}):
        assert provider.diff("", props, props | changed).changes is True
    assert provider.read("retention", props).outs == props


def test_what_hinders_it_is_told_and_fails_nothing(
    props: Props, model: tuple[Client, S3Url], told: list[str]
) -> None:
    away = props["store"] | {"endpoint": "http://127.0.0.1:9", "in_stack": False}
    provider.create(props | {"store": away})
    assert "No old versions were deleted (dlstack:keepVersions). " in told[0]
    assert numbers(model) == [5, 4, 3, 2, 1]


def test_the_code_of_the_next_run_stays(
    props: Props, model: tuple[Client, S3Url], bucket: str, tmp_path: Path, monkeypatch: Any
) -> None:
    asked: list[Any] = []

    def prune(*arguments: Any) -> Any:
        asked.append(arguments[5]())
        raise retention.StoreError("enough")

    monkeypatch.setattr(retention.pruning, "prune", prune)
    provider.create(props)
    assert asked[0].folders == {"0" * 64}
    assert asked[0].versions == {("m", 4)}
    assert folders.is_index(S3Url.parse(props["folders"][0]))


def test_what_others_have_put_into_a_given_bucket_is_no_news(
    props: Props, model: tuple[Client, S3Url], told: list[str], bucket: str
) -> None:
    """None of them was claimed; they were told as what stays, after each `up`."""
    provider.create(props | {"given": [bucket], "versions": []})
    assert numbers(model) == [5, 4, 3, 2, 1] and told == []


def test_when_it_goes_nothing_else_does(props: Props, model: tuple[Client, S3Url]) -> None:
    provider.delete("retention", props)
    assert numbers(model) == [5, 4, 3, 2, 1]
