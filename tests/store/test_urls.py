"""URLs of places in a store."""

import pytest

from store.errors import BadUrl
from store.urls import S3Url, is_s3


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket", S3Url("bucket")),
        ("s3://bucket/", S3Url("bucket")),
        ("s3://bucket/a/b", S3Url("bucket", "a/b")),
        ("s3://bucket/a/b/", S3Url("bucket", "a/b")),
        ("s3://bucket//a b", S3Url("bucket", "a b")),
    ],
)
def test_a_url_is_a_bucket_and_a_prefix(text: str, url: S3Url) -> None:
    assert S3Url.parse(text) == url
    assert S3Url.parse(str(url)) == url
    assert not str(url).endswith("/")


@pytest.mark.parametrize("text", ["", "s3://", "s3:///key", "s3:/b", "http://b/k", "a folder", "b"])
def test_any_other_text_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(BadUrl, match="is not a URL of an object store. Use s3://bucket/prefix"):
        S3Url.parse(text)
    with pytest.raises(BadUrl) as raised:
        S3Url.parse(text, "--data_url")
    assert str(raised.value).startswith(f"--data_url={text!r} is not")


def test_a_bucket_has_no_space() -> None:
    with pytest.raises(BadUrl):
        S3Url.parse("s3://my bucket/key")


def test_below_a_url_is_what_begins_with_it_and_a_slash() -> None:
    url = S3Url("bucket")
    assert url.folder_prefix == ""
    assert (url / "a").folder_prefix == "a/"
    assert str(url / "a" / "b/c") == "s3://bucket/a/b/c"


def test_a_folder_is_told_from_a_url() -> None:
    assert is_s3("s3://bucket") and is_s3("s3://")
    assert not is_s3("data/mnist") and not is_s3("/s3://x")
