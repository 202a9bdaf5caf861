"""The S3 client of the serving half, made from boto3's own environment (docs/contracts.md)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECTIONS = 8
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "Forbidden"}
MISSING = {"NoSuchKey", "404", "NotFound"}
"""Error codes for an object that is not there; a HEAD has no body to carry a better one."""


def client() -> S3Client:
    """Return a client that gives up on a store it can't reach after some 10 seconds."""
    return boto3.client(
        "s3",
        # Of its own accord boto3 reads AWS_DEFAULT_REGION only.
        region_name=os.environ.get("AWS_REGION"),
        config=Config(
            # A store of one's own has no DNS name per bucket.
            s3={"addressing_style": "path" if os.environ.get("AWS_ENDPOINT_URL_S3") else "auto"},
            connect_timeout=3,
            read_timeout=30,
            retries={"total_max_attempts": 3, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
        ),
    )


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix (without slashes at its ends) of `s3://bucket/prefix`.

    Raises:
        ValueError: it has no such form.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"'{url}' is no object store URL. Use s3://bucket/prefix.")
    return bucket, prefix.strip("/")


def describe(error: BotoCoreError | ClientError) -> str:
    """Return one sentence on what went wrong and one on what to do."""
    store = os.environ.get("AWS_ENDPOINT_URL_S3", "AWS")
    if isinstance(error, ClientError):
        code = str(error.response["Error"].get("Code", "unknown"))
        if code in _REFUSED:
            return (
                f"The object store at {store} refused access ({code}). "
                "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        if code == "NoSuchBucket":
            return f"The object store at {store} has no such bucket. Check the URL."
    elif isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "No credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    elif isinstance(error, ConnectionError | HTTPClientError):
        return (
            f"The object store at {store} can't be reached. "
            "Check AWS_ENDPOINT_URL_S3 and the network."
        )
    return f"The object store at {store} failed: {error}"
