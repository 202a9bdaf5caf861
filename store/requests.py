"""Requests for single objects, signed and sent without most of boto3, which takes a core for 1.3 ms
a small file. This takes 0.5 ms.

Only what goes well is done here. Any other answer, or none, is left to boto3, which tries again,
waits for a store with too much to do, follows redirects and says what is wrong. So are, for a
while, all requests that come after it: where one goes wrong, the next one would be made twice.
"""

import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_EMPTY = hashlib.sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"
_OF_ONE_OBJECT = (404, 412)
"""Answers that say nothing of any other request: it is not there, or another one."""
_GLOBAL = "s3.amazonaws.com"
"""The host of AWS in us-east-1, that links to all regions lead to by default."""
_PIECE_BYTES = 32 * 2**10
"""What is given to a connection at a time. Each piece has its own time-out: of a whole content,
Python takes it for the time in which all of it has to be sent."""
_UNSENT_BYTES = 256 * 2**10
"""What the kernel may hold of a connection that it has not sent yet. Else, on a slow way, the wait
for an answer begins when megabytes are still to be sent."""
_PAUSE_SECONDS = 5.0
"""For so long all is boto3's affair after any other answer."""


class _Pieces:
    """A content as a file that is read in pieces, of whatever size is asked for."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def read(self, _size: int = -1) -> memoryview:
        piece, self._left = self._left[:_PIECE_BYTES], self._left[_PIECE_BYTES:]
        return piece


def bound_unsent(s3: "S3Client") -> None:
    """Let the connections of a client that has made none hold little that is not sent yet."""
    # boto3 has no name for it that others may use.
    options = getattr(http_of(s3), "_socket_options", None)
    if isinstance(options, list) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES))


def http_of(s3: "S3Client") -> Any:
    """Return botocore's own client of HTTP; None if it is not where it was."""
    return getattr(getattr(s3, "_endpoint", None), "http_session", None)


@dataclass(eq=False)
class Requests:
    """Sends requests over the connections of a client of boto3."""

    s3: "S3Client"
    credentials: Any
    """Of botocore, which renews those that expire."""
    _places: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Bucket -> its scheme and host, that host, and what its keys' paths begin with."""
    _key: tuple[tuple[str, str], bytes] = (("", ""), b"")
    """Day and secret -> the key that signs on this day."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _paused_until: float = 0.0
    """By the monotonic clock."""

    def send(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        sha256: str = _EMPTY,
        streamed: bool = False,
    ) -> Any | None:
        """Return botocore's response to a request that went well; None: boto3 has to do it.

        Args:
            method: of HTTP.
            bucket, key: of the object.
            headers: in lower case.
            query: names and values.
            content: what is sent.
            sha256: of `content`, which the store compares with what arrives.
            streamed: its `raw` is read by the caller, who closes it.
        """
        from botocore.awsrequest import AWSPreparedRequest
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

        http = http_of(self.s3)
        if http is None or self.credentials is None or time.monotonic() < self._paused_until:
            return None
        try:
            origin, host, path = self._place(bucket)
            path += quote(key, safe="/~")
            named = sorted((query or {}).items())
            text = "&".join(f"{quote(one, '~')}={quote(value, '~')}" for one, value in named)
            all_headers = {**headers, "host": host, "x-amz-content-sha256": sha256}
            self._sign(method, path, text, all_headers)
            url = f"{origin}{path}?{text}" if text else f"{origin}{path}"
            if content:
                all_headers["content-length"] = str(len(content))
            answer = http.send(
                AWSPreparedRequest(
                    # Its own kind of headers takes as long as all the rest.
                    method,
                    url,
                    cast("Any", all_headers),
                    cast("Any", _Pieces(content)) if content else None,
                    streamed,
                )
            )
        except ConnectionClosedError:
            # As one that nobody used for a while.
            return None
        # Of the connection; and of credentials that a service, or a file, does not give.
        except (BotoCoreError, ClientError, OSError):
            self._pause()
            return None
        if answer.status_code in (200, 206):
            return answer
        if answer.status_code not in _OF_ONE_OBJECT:
            self._pause()
        if streamed:
            answer.raw.drain_conn()
            answer.raw.release_conn()
        return None

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + _PAUSE_SECONDS

    def _place(self, bucket: str) -> tuple[str, str, str]:
        if bucket not in self._places:
            # By boto3's own rules: in the path, in the host's name, by region.
            url = urlsplit(
                self.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
            )
            host = url.netloc
            if host.endswith(_GLOBAL):
                # Not every network of a region leads there, and it redirects to that region.
                host = host.removesuffix(_GLOBAL) + urlsplit(self.s3.meta.endpoint_url).netloc
            self._places[bucket] = f"{url.scheme}://{host}", host, url.path[:-1]
        return self._places[bucket]

    def _sign(self, method: str, path: str, query: str, headers: dict[str, str]) -> None:
        """Add the signature (AWS Signature Version 4) and what belongs to it."""
        keys = self.credentials.get_frozen_credentials()
        now = datetime.now(UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        headers["x-amz-date"] = stamp
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        signed = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join([method, path, query, lines, signed, headers["x-amz-content-sha256"]])
        scope = f"{day}/{self.s3.meta.region_name}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.new(
            self._signing_key(day, keys.secret_key),
            "\n".join([_ALGORITHM, stamp, scope, digest]).encode(),
            "sha256",
        ).hexdigest()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={signed}, "
            f"Signature={signature}"
        )

    def _signing_key(self, day: str, secret: str) -> bytes:
        with self._lock:
            if self._key[0] != (day, secret):
                key = f"AWS4{secret}".encode()
                for part in (day, self.s3.meta.region_name, "s3", "aws4_request"):
                    key = hmac.new(key, part.encode(), "sha256").digest()
                self._key = (day, secret), key
            return self._key[1]
