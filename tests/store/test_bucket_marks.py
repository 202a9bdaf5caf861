"""Whose bucket it is, in a real store."""

import pytest

from store import bucket_marks
from store.client import Client
from store.errors import BucketTaken, NoBucket
from store.objects import write
from store.urls import S3Url


def test_a_bucket_is_marked_once(client: Client, bucket: S3Url) -> None:
    assert bucket_marks.find(client, bucket.bucket) is None
    mark = bucket_marks.put(client, bucket.bucket, stack_id="1234", stack="dlstack-dev")
    assert (mark.stack_id, mark.stack) == ("1234", "dlstack-dev")
    assert bucket_marks.find(client, bucket.bucket) == mark
    assert bucket_marks.put(client, bucket.bucket, stack_id="1234", stack="renamed") == mark


def test_the_mark_of_another_stack_stays(client: Client, bucket: S3Url) -> None:
    mark = bucket_marks.put(client, bucket.bucket, stack_id="1234", stack="dlstack-dev")
    with pytest.raises(BucketTaken, match="did not put there"):
        bucket_marks.put(client, bucket.bucket, stack_id="5678", stack="dlstack-dev")
    assert bucket_marks.find(client, bucket.bucket) == mark


@pytest.mark.parametrize("content", [b"", b"[]", b'{"stack_id": "1234"}', b"\xff"])
def test_what_is_no_mark_is_taken_for_none(client: Client, bucket: S3Url, content: bytes) -> None:
    write(client, bucket / bucket_marks.KEY, content)
    assert bucket_marks.find(client, bucket.bucket) is None
    with pytest.raises(BucketTaken):
        bucket_marks.put(client, bucket.bucket, stack_id="1234", stack="dlstack-dev")


def test_a_bucket_that_is_not_there_is_no_bucket_without_a_mark(client: Client) -> None:
    with pytest.raises(NoBucket):
        bucket_marks.find(client, "nobodys-bucket")
