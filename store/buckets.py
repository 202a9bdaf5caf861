"""Buckets."""

import time
from datetime import datetime
from typing import Any

from store.client import Client
from store.errors import Gone, Unreachable

_ASK_AGAIN_SECONDS = 0.2
_ANSWERED_SECONDS = 60.0
_AWAY_SECONDS = 15.0
"""So long counts what was found by `require_answer`."""


def require_answer(client: Client) -> None:
    """Raise Unreachable unless the store answers, to whatever effect.

    boto3 asks a store five times, which takes a silent one a minute. So it is asked here once, for
    nothing: that takes 12 s at most. Whoever asks in the next seconds is told the same at once.
    """
    with client.presence:
        since = client.looked_at
        age = None if since is None else time.monotonic() - since
        if age is None or age > (_AWAY_SECONDS if client.away else _ANSWERED_SECONDS):
            client.away = None
            try:
                _knock(client)
            except Unreachable as error:
                client.away = error
            client.looked_at = time.monotonic()
        if (away := client.away) is not None:
            raise type(away)(str(away)) from away


def _knock(client: Client) -> None:
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.exceptions import ConnectionClosedError

    http = client.http
    if http is None:
        return
    url = f"{client.s3.meta.endpoint_url.rstrip('/')}/"
    headers: Any = {}
    with client.explained("use the object store"):
        for is_last in (False, True):
            try:
                http.send(AWSPreparedRequest("HEAD", url, headers, None, False))
                return
            except ConnectionClosedError:
                # As one that nobody used for a while.
                if is_last:
                    raise


def wait_until_it_answers(client: Client, seconds: float) -> None:
    """Return when the store answers at all; raise Unreachable after `seconds`.

    Of a store that has just been started, nothing may be Ready yet.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            _knock(client)
            with client.explained("list the buckets"):
                client.s3.list_buckets(MaxBuckets=1)
            with client.presence:
                client.looked_at, client.away = time.monotonic(), None
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
