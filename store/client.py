"""How a store is reached: what boto3 is told, by either of two ways in.

What may differ from one store to the next is said here: how buckets are addressed, and which
checksum a store takes.
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from store.errors import ENVIRONMENT, IN_STACK, PROGRAM, Advice, explained
from store.parallel import THREADS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHECKSUM: Literal["SHA256"] = "SHA256"
"""Of all that is written: sent along, and verified by the store."""

_ATTEMPTS = 5
"""Of one request. The pauses between them take up to 0.75 s together, or 15 s where the store says
that it has too much to do (botocore's `ExponentialBackoff`). So a lost connection is made up for;
who has to outlive a store that is started anew tries again by itself."""


@dataclass(frozen=True)
class Client:
    """A connection to a store, which several threads may share."""

    s3: "S3Client"
    advice: Advice
    """In whose words errors say what to do."""

    @property
    def endpoint(self) -> str:
        """URL of the store."""
        return self.s3.meta.endpoint_url

    def close(self) -> None:
        """Close its connections."""
        self.s3.close()

    def explained(self, action: str) -> AbstractContextManager[None]:
        """Turn errors of boto3 into StoreErrors. `action` follows "Can't"."""
        return explained(action, self.endpoint, self.advice)


@lru_cache(maxsize=8)
def connect(
    endpoint: str, region: str, access_key: str, secret_key: str, *, direct: bool
) -> Client:
    """Return a client of the store that a stack's configuration names.

    Whoever waits for it sits before a terminal: maybe far away from the store, behind a slow line,
    and with a store that hangs after a minute at most they are told so.

    Args:
        endpoint: URL of the store; empty for AWS.
        region: part of every signature, on stores without regions too.
        access_key, secret_key: credentials.
        direct: it is the stack's own store, on a node of the cluster: the environment's HTTP
            proxies don't lead there.

    Raises:
        BadSettings: the endpoint is not a URL, or the environment names a profile that isn't there.
    """
    return _client(
        IN_STACK if direct else PROGRAM,
        endpoint,
        boto3_endpoint=endpoint or None,
        region=region,
        access_key=access_key,
        secret_key=secret_key,
        connect_timeout=5,
        read_timeout=12,
        proxies={} if direct else None,
        # The configuration says AWS by no endpoint: the shell's AWS_ENDPOINT_URL would send a
        # stack's data somewhere else.
        ignore_configured_endpoint_urls=True,
    )


def from_environment() -> Client:
    """Return a client of the store that AWS_* variables name (docs/contracts.md).

    The processes that use it run beside the store. Where one hangs, the sooner that is known the
    sooner the next attempt comes: by the mirrors' own loops, or by Kubernetes, which starts a
    failed pod again. So the time-outs are short.

    Raises:
        BadSettings: the endpoint is not a URL, or there is no such profile.
    """
    return _client(
        ENVIRONMENT,
        os.environ.get("AWS_ENDPOINT_URL_S3", ""),
        # Of its own accord boto3 reads AWS_DEFAULT_REGION, and not this one.
        region=os.environ.get("AWS_REGION"),
        connect_timeout=3,
        read_timeout=30,
    )


def _client(
    advice: Advice,
    endpoint: str,
    *,
    region: str | None,
    boto3_endpoint: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    **settings: Any,
) -> Client:
    """Return a client. What is None, boto3 finds in the environment and the profile."""
    import boto3
    from botocore.config import Config

    with explained(f"use the object store at '{endpoint or 'AWS'}'", endpoint or "AWS", advice):
        # Not the session that boto3 shares: two threads must not make it at the same time.
        session = boto3.Session()
        client = session.client(
            "s3",
            endpoint_url=boto3_endpoint,
            region_name=region or session.region_name or "us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                # A store of one's own has no DNS name per bucket.
                s3={"addressing_style": "path" if endpoint else "auto"},
                # Adaptive is the standard mode that also slows down, with all its threads, for a
                # store that says SlowDown: dozens of requests at once go to a single store here.
                retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
                # For each thread, and for the parts of large files.
                max_pool_connections=2 * THREADS,
                **settings,
            ),
        )
    return Client(client, advice)
