"""Contents of any size to a store, read once, in their order, and hashed while they are sent.

A small one is one request, a large one is sent in parts, several at a time. What all of them hold
in memory is bounded (`parallel.Memory`).
"""

import base64
import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from store import dialect
from store.client import Client
from store.errors import OtherContent, StoreError
from store.parallel import MEMORY_BYTES, Lane, Memory, in_parallel
from store.urls import S3Url

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 8 * 2**20
"""From this size on a content is sent in parts, of so many bytes at least."""
_MOST_PARTS = 10_000
"""Of one object of S3. So above 80 GB parts are larger, and above 640 GB one alone takes more than
`parallel.MEMORY_BYTES`."""


class Reader(Protocol):
    """What yields a content."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none: it has ended."""


@dataclass(frozen=True)
class Sent:
    """What has arrived."""

    size: int
    """Bytes."""
    sha256: str


def send(
    client: Client,
    content: Reader,
    url: S3Url,
    size: int,
    *,
    sha256: str = "",
    metadata: Mapping[str, str] | None = None,
    content_type: str = "",
    sent: Callable[[int], None] | None = None,
) -> Sent:
    """Put what `content` yields, up to `size` bytes of it.

    Args:
        client: of the store.
        content: stays open.
        url: of the object.
        size: what it has now, in bytes. What it grows by meanwhile is not sent.
        sha256: 64 hexadecimal digits; empty: any content is right.
        metadata: of the object.
        content_type: of the object.
        sent: gets the number of bytes that have arrived by each request, from several threads.

    Raises:
        OtherContent: it has not this SHA-256, or another size than this one that is known: nothing
            is put then.
        OSError: it can't be read.
    """
    hashed = _Hashed(content, size, sha256, url)
    upload = _Upload(client, url, hashed, dict(metadata or {}), content_type, sent)
    if size < PART_BYTES:
        with Memory(size):
            upload.whole()
    else:
        upload.in_parts(part_bytes(size))
    return Sent(hashed.count, hashed.digest.hexdigest())


def part_bytes(size: int) -> int:
    """Return how large the parts of a content of `size` bytes are."""
    return max(PART_BYTES, -(-size // _MOST_PARTS))


class _Hashed:
    """Yields a content and hashes it; at its end it is found out whether it is the right one."""

    def __init__(self, content: Reader, size: int, sha256: str, url: S3Url) -> None:
        self._content, self._size, self._sha256, self._url = content, size, sha256, url
        self.digest = hashlib.sha256()
        self.count = 0
        """Bytes that were yielded."""

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer at the end only."""
        pieces = []
        left = min(size, self._size - self.count)
        while left and (piece := self._content.read(left)):
            pieces.append(piece)
            left -= len(piece)
        found = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.digest.update(found)
        self.count += len(found)
        return found

    def require_right(self) -> None:
        """Raise OtherContent if one content is right, and it was not this one."""
        if self._sha256 and (
            self.digest.hexdigest() != self._sha256
            or (self.count == self._size and self._content.read(1))
        ):
            raise OtherContent(
                f"What was to be sent to '{self._url}' has changed. Run the command again."
            )


class _Upload:
    """One object."""

    def __init__(
        self,
        client: Client,
        url: S3Url,
        content: _Hashed,
        metadata: dict[str, str],
        content_type: str,
        sent: Callable[[int], None] | None,
    ) -> None:
        self._client, self._url, self._content = client, url, content
        self._sent = sent or (lambda _: None)
        self._how = dialect.of(client, url.bucket)
        self._options: dict[str, Any] = {"Metadata": metadata}
        self._headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        if content_type:
            self._options["ContentType"] = self._headers["content-type"] = content_type
        self._failed = False
        self._memories: list[Memory] = []

    def whole(self) -> None:
        """Put all of it by one request."""
        found = self._content.read(PART_BYTES)
        self._content.require_right()
        digest = self._content.digest
        with Lane():
            if self._quick(found, digest.digest(), self._headers, {}) is None:
                with self._client.explained(f"upload to '{self._url}'"):
                    self._how.s3.put_object(
                        Bucket=self._url.bucket,
                        Key=self._url.prefix,
                        Body=found,
                        **self._options,
                        **self._checksum(digest.digest()),
                    )
        self._sent(len(found))

    def in_parts(self, size: int) -> None:
        """Put it in parts of `size` bytes."""
        place: dict[str, Any] = {"Bucket": self._url.bucket, "Key": self._url.prefix}
        s3, how = self._how.s3, self._how
        with self._client.explained(f"upload to '{self._url}'"):
            begun = s3.create_multipart_upload(**place, **self._options, **how.checksum)
            place["UploadId"] = begun["UploadId"]
            try:
                parts = in_parallel(
                    lambda part: self._send_part(place["UploadId"], *part),
                    self._parts(size),
                    threads=MEMORY_BYTES // PART_BYTES,
                )
                self._content.require_right()
                s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
            except BaseException:
                with contextlib.suppress(StoreError), self._client.explained("end an upload"):
                    s3.abort_multipart_upload(**place)
                raise
            finally:
                # Some are of parts whose turn never came, as another one had failed.
                for memory in self._memories:
                    memory.release()

    def _parts(self, size: int) -> Iterator[tuple[int, bytes, Memory]]:
        for number in itertools.count(1):
            memory = Memory(size, unless=lambda: self._failed)
            self._memories.append(memory)
            content = b"" if self._failed else self._content.read(size)
            # Of an empty content that was longer a moment ago, one part is sent.
            if not content and (number > 1 or self._failed):
                return
            yield number, content, memory

    def _send_part(
        self, upload: str, number: int, content: bytes, memory: Memory
    ) -> "CompletedPartTypeDef":
        try:
            digest = hashlib.sha256(content).digest()
            place = {"partNumber": str(number), "uploadId": upload}
            with Lane():
                etag = self._quick(content, digest, {}, place)
                if etag is None:
                    etag = self._how.s3.upload_part(
                        Bucket=self._url.bucket,
                        Key=self._url.prefix,
                        PartNumber=number,
                        UploadId=upload,
                        Body=content,
                        **self._checksum(digest),
                    )["ETag"]
            self._sent(len(content))
            part: CompletedPartTypeDef = {"PartNumber": number, "ETag": etag}
            part.update(self._checksum(digest))
            return part
        except BaseException:
            self._failed = True
            raise
        finally:
            memory.release()

    def _checksum(self, digest: bytes) -> Any:
        """Return what the store compares with what has arrived, if it can."""
        if not self._how.checksums:
            return {}
        return {"ChecksumSHA256": base64.b64encode(digest).decode()}

    def _quick(
        self, content: bytes, digest: bytes, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> str | None:
        """Put it by one request of our own; return its ETag, or None: boto3 has to do it."""
        requests = self._client.requests
        if requests is None:
            return None
        if self._how.checksums:
            checksum = base64.b64encode(digest).decode()
            headers = {**headers, "x-amz-checksum-sha256": checksum}
        answer = requests.send(
            "PUT",
            self._url.bucket,
            self._url.prefix,
            headers=headers,
            query=query,
            content=content,
            sha256=digest.hex(),
        )
        return None if answer is None else answer.headers.get("ETag")
