"""The quick way of single objects: where it leads, and what is left to boto3."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from store import buckets, requests
from store.access import Access
from store.client import connect, from_environment
from store.errors import Expired, StoreError
from store.fetching import fetch_file
from store.objects import write
from store.urls import S3Url
from tests.strict_store import DOMAIN, StrictStore

URL = S3Url("a-bucket", "key")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictStore]:
    ask = socket.getaddrinfo

    def answer(host: Any, *arguments: Any, **named: Any) -> Any:
        return ask("127.0.0.1" if host == DOMAIN else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with StrictStore() as server:
        connect.cache_clear()
        yield server


@pytest.mark.parametrize(
    ("region", "bucket", "host"),
    [
        ("eu-central-1", "a-bucket", "a-bucket.s3.eu-central-1.amazonaws.com"),
        ("eu-central-1", "with.dots", "s3.eu-central-1.amazonaws.com"),
        ("us-east-1", "a-bucket", "a-bucket.s3.amazonaws.com"),
        ("cn-north-1", "a-bucket", "a-bucket.s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_aws_is_asked_in_the_region_of_the_bucket(
    region: str, bucket: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: from a network that reaches S3 of its region only, each file took five seconds."""
    client = connect(Access(region=region, access_key="a", secret_key="s"), direct=False)
    asked: list[Any] = []

    class Session:
        def send(self, request: Any) -> Any:
            asked.append(request)
            return type("Answer", (), {"status_code": 200})

    monkeypatch.setattr(client.s3._endpoint, "http_session", Session())  # type: ignore[attr-defined]
    assert client.requests is not None
    assert client.requests.send("GET", bucket, "a b/ü", headers={})
    boto3 = client.s3.meta.endpoint_url
    assert urlsplit(asked[0].url).netloc == asked[0].headers["host"] == host
    assert host.endswith(urlsplit(boto3).netloc)
    assert asked[0].url.endswith("/a%20b/%C3%BC")


def test_what_goes_wrong_once_is_not_tried_twice_for_each_object(
    server: StrictStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: a store with too much to do got each request by both ways."""
    monkeypatch.setattr(requests, "_PAUSE_SECONDS", 3600.0)
    client = connect(server.access(), direct=False)
    buckets.create(client, URL.bucket)
    write(client, URL, b"x")
    server.rules.expired = True
    server.asked.clear()
    for _ in range(3):
        with pytest.raises(Expired):
            fetch_file(client, URL, tmp_path / "copy", 1)
    assert len(server.asked) == 1 + 3
    server.rules.expired = False
    assert client.requests is not None
    client.requests._paused_until = 0.0
    server.asked.clear()
    fetch_file(client, URL, tmp_path / "copy", 1)
    assert len(server.asked) == 1


def test_credentials_that_a_service_refuses_are_told(
    server: StrictStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: a traceback of botocore where a pod's role could not be had."""
    (tmp_path / "token").write_text("token")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ENDPOINT_URL_STS": server.endpoint,
        "AWS_ENDPOINT_URL_S3": server.endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="fetch 's3://a-bucket/key'"):
        fetch_file(from_environment(), URL, tmp_path / "copy", 1)
