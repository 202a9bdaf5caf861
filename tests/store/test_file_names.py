"""Keys of objects that can be files, and those that can't. Real fetches: test_transfers.py."""

from datetime import UTC, datetime

import pytest

from store.errors import StoreError
from store.file_names import require_files
from store.objects import StoredObject
from store.urls import S3Url

URL = S3Url("data", "set")


def entry(path: str, size: int = 1) -> StoredObject:
    return StoredObject(path, size, '"etag"', datetime.now(UTC))


def test_most_keys_are_files() -> None:
    keys = ("one", "a b", "ü/日本.png", "x" * 255, "a.b/..c/d..", "%2F", "-", "a/b/c/d")
    require_files(URL, [*map(entry, keys), entry("a/", 0), entry("", 0), entry("empty", 0)])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["a//b"], r"'a//b' \(a part of it is empty\)"),
        (["/a"], "a part of it is empty"),
        (["folder/"], "'folder/' .a part of it is empty"),
        (["a/../b"], "leads elsewhere"),
        (["./a"], "leads elsewhere"),
        (["images", "images/1.png"], r"'images' \(it is a folder, too\)"),
        (["x" * 300], "longer than 255 bytes"),
        (["ü" * 128], "longer than 255 bytes"),
        (["a\0b"], "NUL"),
        ([f"{letter}//" for letter in "abcde"], "'a//' .*'b//' .*'c//' .*, and 2 more"),
    ],
)
def test_some_keys_are_none(keys: list[str], said: str) -> None:
    with pytest.raises(StoreError, match=said) as raised:
        require_files(URL, [*map(entry, keys), entry("fine")])
    assert "'s3://data/set' has objects that can't be files of a folder" in str(raised.value)
    assert "fine" not in str(raised.value)
