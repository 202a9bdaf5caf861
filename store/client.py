"""How a store is reached: what boto3 is told, by either of two ways in.

What a store can't do, which others can, is found out before something is written to it
(`store.dialect`).
"""

import os
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from store import authorities
from store.access import ADDRESSING_STYLE, CA_CERTIFICATE, ENDPOINT, REGION, Access
from store.errors import ENVIRONMENT, IN_STACK, PROGRAM, Advice, Unreachable, explained
from store.parallel import THREADS
from store.requests import Requests, bound_unsent, http_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 5
"""Of one request. The pauses between them take up to 0.75 s together, or 15 s where the store says
that it has too much to do (botocore's `ExponentialBackoff`). So a lost connection is made up for;
who has to outlive a store that is started anew tries again by itself."""

_CONNECT_SECONDS = 5
_READ_SECONDS = 12
"""Of a request that somebody at a terminal waits for."""

_NO_HOST = (
    "dlstack:s3AddressingStyle is 'virtual': each bucket needs a DNS name of its own there. If it "
    "has none, set it to 'path'."
)
_AWS = re.compile(r"^https://[^/]*\.amazonaws\.com(\.cn)?(:\d+)?/?$")


@dataclass(eq=False)
class Client:
    """A connection to a store, which several threads may share."""

    s3: "S3Client"
    """Reads, and writes with checksums of S3's own, which not all stores know."""
    advice: Advice
    """In whose words errors say what to do."""
    called: str = ""
    """URL under which errors name the store; empty: the one by which it is reached."""
    why: Callable[[], str] | None = None
    """Says why it can't be reached, where the way to it knows; else empty."""
    full: Callable[[], str] | None = None
    """Says that its disk is full, and what to do, where that can be asked; else empty."""
    plain: "Callable[[], S3Client] | None" = None
    """Makes what writes without such checksums: its requests are signed with the SHA-256 of what
    they carry. None: the store is known to do all that S3 does."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Of `dialect` and `deletes_many`, which `store.dialect` and `store.objects` find out."""
    dialect: Any = None
    deletes_many: bool = True
    requests: Requests | None = None
    """The quick way for single objects; None: all is boto3's affair."""
    presence: threading.Lock = field(default_factory=threading.Lock)
    """Of `looked_at` and `away`, which `store.buckets` finds out."""
    looked_at: float | None = None
    """When somebody looked last whether it answers at all, by the monotonic clock."""
    away: Exception | None = None
    """What was wrong then; None: it answered."""

    @property
    def http(self) -> Any:
        """What sends boto3's requests; None if it is not where it was."""
        return http_of(self.s3)

    @property
    def endpoint(self) -> str:
        """URL of the store, for people."""
        return self.called or self.s3.meta.endpoint_url

    def close(self) -> None:
        """Close its connections."""
        self.s3.close()

    def explained(self, action: str) -> AbstractContextManager[None]:
        """Turn errors of boto3 into StoreErrors. `action` follows "Can't"."""
        return explained(action, self.endpoint, self.advice, self.why, self.full)


@lru_cache(maxsize=8)
def connect(
    access: Access,
    *,
    direct: bool,
    called: str = "",
    why: Callable[[], str] | None = None,
    full: Callable[[], str] | None = None,
) -> Client:
    """Return a client of the store that a stack's configuration names.

    Whoever waits for it sits before a terminal: maybe far away from the store, behind a slow line.
    A request is tried again for a minute where a store hangs; that it does is told in seconds
    (`buckets.require_answer`).

    Args:
        access: where it is, and by which credentials it is asked.
        direct: it is the stack's own store, behind a port of this machine: the environment's HTTP
            proxies don't lead there.
        called, why, full: see `Client`.

    Raises:
        BadSettings: the endpoint is not a URL, or the environment names a profile that isn't there.
    """
    return _client(
        IN_STACK if direct else PROGRAM,
        access,
        is_known=direct,
        called=called,
        why=why,
        full=full,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
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
    access = Access.of(
        # Credentials are boto3's affair: it may have better ones, and renews those that expire.
        {name: os.environ.get(name, "") for name in (ADDRESSING_STYLE, CA_CERTIFICATE)},
        os.environ.get(ENDPOINT, ""),
        # Of its own accord boto3 reads AWS_DEFAULT_REGION, and not this one.
        os.environ.get(REGION, ""),
    )
    return _client(ENVIRONMENT, access, is_known=False, connect_timeout=3, read_timeout=30)


def _client(
    advice: Advice,
    access: Access,
    *,
    is_known: bool,
    called: str = "",
    why: Callable[[], str] | None = None,
    full: Callable[[], str] | None = None,
    **settings: Any,
) -> Client:
    """Return a client. What is empty, boto3 finds in the environment and the profile.

    Args:
        advice: for errors.
        access: of the store.
        is_known: it is the stack's own, and can do all that S3 does, as AWS itself can.
        called, why, full: see `Client`.
        settings: more of botocore's.
    """
    import boto3
    from botocore.config import Config

    endpoint = access.endpoint
    # A store of one's own may have no DNS name per bucket.
    style = access.addressing or ("path" if endpoint else "auto")
    if access.addressing == "virtual":
        advice = {**advice, Unreachable: f"{advice[Unreachable]} {_NO_HOST}"}

    with explained(f"use the object store at '{endpoint or 'AWS'}'", endpoint or "AWS", advice):
        # Not the session that boto3 shares: two threads must not make it at the same time.
        session = boto3.Session(
            aws_access_key_id=access.access_key or None,
            aws_secret_access_key=access.secret_key or None,
            aws_session_token=access.session_token or None,
        )

        def make(s3: dict[str, Any], **checksums: Any) -> "S3Client":
            made = session.client(
                "s3",
                endpoint_url=endpoint or None,
                region_name=access.region or session.region_name or "us-east-1",
                verify=authorities.file_of(access.ca_certificate)
                if access.ca_certificate
                else None,
                config=Config(
                    # Adaptive is the standard mode that also slows down, with all its threads, for
                    # a store that says SlowDown: dozens of requests at once go to a single store.
                    retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
                    # For each thread, and for the parts of large files.
                    max_pool_connections=2 * THREADS,
                    s3=cast("Any", {"addressing_style": style, **s3}),
                    **checksums,
                    **settings,
                ),
            )
            bound_unsent(made)
            return made

        client = make({})

    def plain() -> "S3Client":
        return make(
            # Else not over https, as a checksum is expected to be there.
            {"payload_signing_enabled": True},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )

    is_known = is_known or _AWS.search(client.meta.endpoint_url) is not None
    requests = Requests(client, session.get_credentials())
    how = None if is_known else plain
    return Client(client, advice, called, why, full, how, requests=requests)
