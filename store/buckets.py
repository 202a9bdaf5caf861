"""Buckets."""

import time
from datetime import datetime
from typing import Any

from store.client import Client
from store.errors import Gone, Unreachable

_ASK_AGAIN_SECONDS = 0.2


def wait_until_it_answers(client: Client, seconds: float) -> None:
    """Return when the store answers at all; raise Unreachable after `seconds`.

    Of a store that has just been started, nothing may be Ready yet.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with client.explained("list the buckets"):
                client.s3.list_buckets(MaxBuckets=1)
            return
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_ASK_AGAIN_SECONDS)


def created_at(client: Client, bucket: str) -> datetime | None:
    """Return when one of the user's own buckets was created; None if it isn't one of them."""
    with client.explained("list the buckets"):
        for page in client.s3.get_paginator("list_buckets").paginate():
            for entry in page.get("Buckets", []):
                if entry["Name"] == bucket:
                    return entry["CreationDate"]
    return None


def create(client: Client, bucket: str) -> None:
    """Create a bucket.

    Raises:
        BucketTaken: there is one already. AWS answers so of other people's buckets only, so look
            for its mark before.
    """
    region = client.s3.meta.region_name
    with client.explained(f"create the bucket '{bucket}'"):
        if region == "us-east-1":
            client.s3.create_bucket(Bucket=bucket)
        else:
            location: Any = {"LocationConstraint": region}
            client.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)


def delete(client: Client, bucket: str) -> None:
    """Delete an empty bucket; one that is gone is fine."""
    try:
        with client.explained(f"delete the bucket '{bucket}'"):
            client.s3.delete_bucket(Bucket=bucket)
    except Gone:
        return
