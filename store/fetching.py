"""Objects of any size from a store as files, which appear only when they are complete.

A small one is one request, a large one is fetched in ranges, several at a time. No request is made
only to learn a size: the list that an object was found in has it. Nothing larger than a piece of
1 MiB is held in memory.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from store.client import Client
from store.errors import Changed, OtherContent, Unreachable
from store.file_names import unfinished
from store.parallel import in_parallel
from store.urls import S3Url

RANGE_BYTES = 16 * 2**20
"""A larger object is fetched in ranges of this size."""
_RANGES_AT_A_TIME = 8
_PIECE_BYTES = 2**20
_ATTEMPTS = 5
"""Of one range, each of which may be cut off in the middle."""


def fetch_file(
    client: Client, url: S3Url, target: Path, size: int, *, sha256: str = "", etag: str = ""
) -> None:
    """Get an object of `size` bytes as a file.

    Args:
        client: of the store.
        url: of the object.
        target: the file. It appears when it is complete.
        size: as it was listed.
        sha256: of its content, 64 hexadecimal digits; empty: any is right.
        etag: of its content, as it was listed; empty: any is right.

    Raises:
        NoObject: there is none.
        Changed: it has another content than was listed, or was written while it was fetched.
        OtherContent: it has another SHA-256.
        OSError: the file can't be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    made = unfinished(target)
    try:
        with made.open("w+b") as file:
            fetch = _Fetch(client, url, file.fileno(), size, etag)
            if size <= RANGE_BYTES:
                found = fetch.whole()
            else:
                fetch.ranges()
                found = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else ""
        if sha256 and found != sha256:
            raise OtherContent(
                f"'{url}' is not what its name says: it has the SHA-256 {found}, and not {sha256}. "
                "Delete it, and run 'pulumi up --refresh'."
            )
        os.replace(made, target)
    except BaseException:
        with contextlib.suppress(OSError):
            made.unlink()
        raise


class _CutOff(Exception):
    """The connection was lost within a content."""


class _Fetch:
    """One object into one file that is open."""

    def __init__(self, client: Client, url: S3Url, file: int, size: int, etag: str) -> None:
        self._client, self._url, self._file = client, url, file
        self._size, self._etag = size, etag

    def whole(self) -> str:
        """Get all of it by one request; return its SHA-256."""
        return self._get(0, self._size, {})

    def ranges(self) -> None:
        """Get it in ranges, all of the same content."""
        # The first one says what content that is, where that is not known.
        self._range(0)
        in_parallel(
            self._range, range(RANGE_BYTES, self._size, RANGE_BYTES), threads=_RANGES_AT_A_TIME
        )

    def _range(self, start: int) -> None:
        end = min(start + RANGE_BYTES, self._size)
        self._get(start, end - start, {"Range": f"bytes={start}-{end - 1}"})

    def _get(self, start: int, length: int, span: Mapping[str, str]) -> str:
        """Write `length` bytes to where they belong; return their SHA-256."""
        attempts = [self._quick, *[self._by_boto3] * _ATTEMPTS]
        while True:
            digest, at = hashlib.sha256(), start
            try:
                for piece in attempts.pop(0)(length, span):
                    # Not `write`: ranges share the file.
                    at += os.pwrite(self._file, piece, at)
                    digest.update(piece)
                if at - start == length:
                    return digest.hexdigest()
            except _CutOff:
                continue
            except Unreachable:
                if not attempts:
                    raise
                continue
            raise Changed(f"'{self._url}' was written while it was fetched. Try again.")

    def _quick(self, length: int, span: Mapping[str, str]) -> Iterator[bytes]:
        requests = self._client.requests
        headers = {name.lower(): value for name, value in span.items()}
        if self._etag:
            headers["if-match"] = self._etag
        answer = requests and requests.send(
            "GET", self._url.bucket, self._url.prefix, headers=headers, streamed=True
        )
        if not answer or answer.headers.get("Content-Length") != str(length):
            if answer:
                answer.raw.close()
            raise _CutOff
        left = length
        try:
            self._require_same(answer.headers.get("ETag", ""))
            while left and (piece := _read(answer.raw, min(left, _PIECE_BYTES))):
                left -= len(piece)
                yield piece
            if left:
                raise _CutOff
        finally:
            # One that has not been read to its end is of no use to anybody.
            (answer.raw.close if left else answer.raw.release_conn)()

    def _by_boto3(self, length: int, span: Mapping[str, str]) -> Iterator[bytes]:
        options: dict[str, Any] = dict(span)
        if self._etag:
            options["IfMatch"] = self._etag
        with self._client.explained(f"fetch '{self._url}'"):
            answer = self._client.s3.get_object(
                Bucket=self._url.bucket, Key=self._url.prefix, **options
            )
            with closing(answer["Body"]) as body:
                self._require_same(answer.get("ETag", ""))
                if answer["ContentLength"] == length:
                    yield from body.iter_chunks(_PIECE_BYTES)

    def _require_same(self, etag: str) -> None:
        """Raise Changed if a store that does not heed the condition gives another content."""
        self._etag = self._etag or etag
        if etag and etag.strip('"') != self._etag.strip('"'):
            raise Changed(f"'{self._url}' has another content than was listed. Try again.")


def _read(raw: Any, size: int) -> bytes:
    from urllib3.exceptions import HTTPError

    try:
        return bytes(raw.read(size))
    except HTTPError as error:
        raise _CutOff from error
