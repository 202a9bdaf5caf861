"""S3 calls by boto3, with errors that a user can act on. No pulumi here."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MARK = "dlstack-sha256"
"""Metadata of every uploaded object: its SHA-256, and the sign that a stack put it there."""

_TRANSFERS = 8
_KEYS_PER_DELETE = 1000

_GONE = frozenset({"NoSuchBucket", "NoSuchKey", "404"})
_WRONG_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"}
)
_FORBIDDEN = frozenset({"AccessDenied", "AllAccessDisabled", "403"})


class StoreError(Exception):
    """An object store can't do what was asked. The message is made for the user."""


class Gone(StoreError):
    """The bucket or object isn't there."""


class Forbidden(StoreError):
    """The credentials are right, but may not do this."""


@lru_cache(maxsize=8)
def connect(
    endpoint: str, region: str, access_key: str, secret_key: str, *, direct: bool
) -> "S3Client":
    """Return a client, which several threads may share.

    Args:
        endpoint: URL of the store; empty for AWS.
        region: part of every signature, on stores without regions too.
        access_key, secret_key: credentials.
        direct: ignore the environment's HTTP proxies: the endpoint is a node of the cluster.
    """
    # 0.4 s: the dynamic providers import this module on every `pulumi up`.
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=2 * _TRANSFERS,
            retries={"mode": "standard", "max_attempts": 4},
            s3={"addressing_style": "path" if endpoint else "auto"},
            proxies={} if direct else None,
        ),
    )


def wait_until_it_answers(client: "S3Client", seconds: float) -> None:
    """Return when the store answers at all; raise after `seconds`.

    A Service's node port works a moment after its pod is Ready.
    """
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError

    deadline = time.monotonic() + seconds
    with _explained(client, "list buckets"):
        while True:
            try:
                client.list_buckets(MaxBuckets=1)
                return
            except (NoConnection, HTTPClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def exists(client: "S3Client", bucket: str) -> bool:
    """Say whether there is such a bucket, whoever owns it."""
    try:
        # Unlike HEAD, LIST has a body that tells wrong credentials from somebody else's bucket.
        with _explained(client, f"look for the bucket '{bucket}'"):
            client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except Gone:
        return False
    except Forbidden:
        return True
    return True


def create_bucket(client: "S3Client", bucket: str) -> None:
    """Create a bucket. One that is there already is never adopted: `destroy` would delete it."""
    taken = StoreError(
        f"The bucket '{bucket}' exists already and was not made by this stack. "
        "Set dlstack:bucketPrefix to another prefix, or delete the bucket."
    )
    # AWS answers 200 to the creation of a bucket that one owns already (us-east-1).
    if exists(client, bucket):
        raise taken
    region = client.meta.region_name
    with _explained(client, f"create the bucket '{bucket}'"):
        try:
            if region == "us-east-1":
                client.create_bucket(Bucket=bucket)
            else:
                location: Any = {"LocationConstraint": region}
                client.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
        except (
            client.exceptions.BucketAlreadyExists,
            client.exceptions.BucketAlreadyOwnedByYou,
        ) as exc:
            raise taken from exc


def delete_bucket(client: "S3Client", bucket: str) -> None:
    """Delete an empty bucket; one that is gone is fine."""
    try:
        with _explained(client, f"delete the bucket '{bucket}'"):
            client.delete_bucket(Bucket=bucket)
    except Gone:
        return


def list_objects(client: "S3Client", bucket: str, prefix: str = "") -> dict[str, tuple[int, str]]:
    """Return key -> (size, ETag) of all objects below `prefix`."""
    found = {}
    with _explained(client, f"list the bucket '{bucket}'"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for item in page.get("Contents", []):
                found[item["Key"]] = (item["Size"], item["ETag"].strip('"'))
    return found


def list_folders(client: "S3Client", bucket: str, prefix: str) -> list[str]:
    """Return the names of the folders directly below `prefix`, which ends in '/'."""
    found = []
    with _explained(client, f"list the bucket '{bucket}'"):
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, Delimiter="/"
        )
        for page in pages:
            for item in page.get("CommonPrefixes", []):
                found.append(item["Prefix"][len(prefix) : -1])
    return found


def written(client: "S3Client", bucket: str, keys: Iterable[str]) -> dict[str, datetime]:
    """Return key -> time of its last change of those objects that there are."""

    def look(key: str) -> tuple[str, datetime | None]:
        try:
            with _explained(client, f"look at '{bucket}/{key}'"):
                return key, client.head_object(Bucket=bucket, Key=key)["LastModified"]
        except Gone:
            return key, None

    return {key: moment for key, moment in parallel(look, keys) if moment}


def mark(client: "S3Client", bucket: str, key: str) -> str | None:
    """Return the SHA-256 of an uploaded object; None if it isn't there or somebody else's."""
    try:
        with _explained(client, f"look at '{bucket}/{key}'"):
            return client.head_object(Bucket=bucket, Key=key)["Metadata"].get(_MARK)
    except Gone:
        return None


def marks(client: "S3Client", bucket: str, keys: Iterable[str]) -> dict[str, str]:
    """Return key -> SHA-256 of those objects that `upload` put there."""
    found = parallel(lambda key: (key, mark(client, bucket, key)), keys)
    return {key: sha256 for key, sha256 in found if sha256}


def upload(client: "S3Client", bucket: str, files: Iterable[tuple[Path, str, str]]) -> None:
    """Upload (file, key, SHA-256) triples, except what lies there already."""

    def put(item: tuple[Path, str, str]) -> None:
        path, key, sha256 = item
        if mark(client, bucket, key) == sha256:
            return
        with _explained(client, f"upload '{path}' to '{bucket}/{key}'"):
            client.upload_file(
                str(path),
                bucket,
                key,
                ExtraArgs={"ChecksumAlgorithm": "SHA256", "Metadata": {_MARK: sha256}},
            )

    for _ in parallel(put, files):
        pass


def delete_objects(client: "S3Client", bucket: str, keys: Iterable[str]) -> None:
    """Delete objects; those that are gone are fine, as is a bucket that is."""
    left = list(keys)
    while left:
        some, left = left[:_KEYS_PER_DELETE], left[_KEYS_PER_DELETE:]
        try:
            with _explained(client, f"delete objects of the bucket '{bucket}'"):
                answer = client.delete_objects(
                    Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
        except Gone:
            return
        if errors := answer.get("Errors"):
            raise StoreError(
                f"{len(errors)} objects of the bucket '{bucket}' can't be deleted, such as "
                f"'{errors[0].get('Key')}': {errors[0].get('Message')}. Try again, or delete them."
            )


def read(client: "S3Client", bucket: str, key: str) -> bytes:
    """Return an object's content."""
    with _explained(client, f"read '{bucket}/{key}'"):
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def parallel(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield `function` of each item, called in a few threads; raise the first error at once."""
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _explained(client: "S3Client", action: str) -> Iterator[None]:
    """Turn boto3's errors into one sentence on what happened and one on what to do."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    endpoint = client.meta.endpoint_url
    try:
        yield
    except ClientError as exc:
        code = exc.response.get("Error", {}).get("Code", "")
        message = exc.response.get("Error", {}).get("Message", "").rstrip(".")
        raise _refusal(endpoint, action, code, message) from exc
    except (BotoCoreError, Boto3Error) as exc:
        # boto3's transfers wrap the ClientError that says what was wrong.
        cause = exc.__cause__ or exc.__context__
        if isinstance(cause, ClientError):
            error = cause.response.get("Error", {})
            raise _refusal(
                endpoint, action, error.get("Code", ""), error.get("Message", "")
            ) from exc
        raise StoreError(
            f"Can't {action}: the object store at '{endpoint}' does not answer "
            f"({type(exc).__name__}). Check that it runs and that dlstack:s3Endpoint is right."
        ) from exc
    except OSError as exc:
        raise StoreError(f"Can't {action}: {exc.strerror or exc}. Check the file.") from exc


def _refusal(endpoint: str, action: str, code: str, message: str) -> StoreError:
    if code in _GONE:
        return Gone(f"Can't {action}: it is not there. Run 'pulumi refresh', then 'pulumi up'.")
    if code in _WRONG_CREDENTIALS:
        return StoreError(
            f"Can't {action}: the object store at '{endpoint}' refuses the credentials ({code}). "
            "Check dlstack:s3AccessKey, dlstack:s3SecretKey and dlstack:s3Region."
        )
    if code in _FORBIDDEN:
        return Forbidden(
            f"Can't {action}: the credentials may not do that ({code}). Grant their user the "
            "right to, or set dlstack:bucketPrefix if the bucket is somebody else's."
        )
    return StoreError(
        f"Can't {action}: the object store at '{endpoint}' answers {code}: {message}. "
        "Try again, or see the store's log."
    )
