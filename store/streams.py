"""The bytes of an object as they are needed, read ahead, and read on after a hiccup of the store.

What is read is one content: an object that is written anew meanwhile is an error, never a mixture.
"""

import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from store.client import Client
from store.errors import Changed, Gone, StoreError, Unreachable
from store.patience import may_pass
from store.urls import S3Url

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE_BYTES = 4 * 2**20
"""What one request gets of a file that is read from its beginning to its end."""
AHEAD = 4
"""How many such requests are under way. The memory of a reader is twice that, at most."""
PATIENCE_SECONDS = 15 * 60.0
"""For so long nothing may come before a reader gives up: a store may be started anew meanwhile."""

_FIRST_BYTES = 256 * 2**10
"""Of a file whose reader goes from place to place."""
_STEP_BYTES = 256 * 2**10
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 10.0
_SAY_SECONDS = 30.0

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Content:
    """An object as it was when it was listed."""

    url: S3Url
    size: int
    """Bytes."""
    etag: str
    """What tells it from another content under the same key; empty: there is no other."""


def read_range(client: Client, content: Content, first: int, count: int) -> bytearray:
    """Return `count` bytes from `first` on, less at the end of the object.

    A request that the store refuses for now, or that is cut, is followed by one for what is left.

    Raises:
        Changed: the object has another content by now.
        NoObject: it is gone.
        StoreError: the store refuses, or nothing has come for `PATIENCE_SECONDS`.
    """
    found = bytearray(max(0, min(count, content.size - first)))
    view, got = memoryview(found), 0
    since, said, pause = time.monotonic(), time.monotonic(), _FIRST_PAUSE_SECONDS
    while got < len(view):
        before = got
        try:
            for some in _pieces(client, content, first + got, view[got:]):
                got += some
        except (Changed, Gone) as error:
            done = "is gone" if isinstance(error, Gone) else "has changed"
            raise type(error)(
                f"'{content.url}' {done} since this training began to read its data. Begin it anew "
                "with the data that is there now, or put back what was there."
            ) from error
        except StoreError as error:
            if not may_pass(error):
                raise
            now = time.monotonic()
            if got > before:
                since, pause = now, _FIRST_PAUSE_SECONDS
            left = PATIENCE_SECONDS - (now - since)
            if left < pause:
                raise
            if now - said >= _SAY_SECONDS:
                said = now
                print(f"{error} Reading on as soon as it answers.", flush=True)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return found


def _pieces(client: Client, content: Content, first: int, target: memoryview) -> Iterator[int]:
    """Fill `target` with the bytes from `first` on; yield how many have come, again and again."""
    from urllib3.exceptions import HTTPError

    url, span = content.url, f"bytes={first}-{first + len(target) - 1}"
    with client.explained(f"read '{url}'"):
        etag, body = _quick(client, content, span) or _by_boto3(client, content, span)
        with closing(body):
            if content.etag and etag != content.etag:
                # Of a store that does not heed the condition.
                raise Changed(f"'{url}' has the ETag {etag}, not {content.etag}")
            got = 0
            while got < len(target):
                # Of a connection that is cut, what such a step has got is lost.
                try:
                    some = body.readinto(target[got : got + _STEP_BYTES])
                except HTTPError as error:
                    raise Unreachable(f"Can't read '{url}': the connection was lost.") from error
                if not some:
                    raise StoreError(f"Can't read '{url}': the answer ended early. Try again.")
                got += some
                yield some
            # Nothing is left of the answer: the next request has the connection.
            getattr(body, "release_conn", body.close)()


def _quick(client: Client, content: Content, span: str) -> tuple[str, Any] | None:
    """Return ETag and body of the answer to a request of our own; None: boto3 has to do it."""
    headers = {"range": span, **({"if-match": content.etag} if content.etag else {})}
    answer = client.requests and client.requests.send(
        "GET", content.url.bucket, content.url.prefix, headers=headers, streamed=True
    )
    if not answer:
        return None
    if answer.status_code != 206:
        answer.raw.close()
        return None
    return answer.headers.get("ETag", ""), answer.raw


def _by_boto3(client: Client, content: Content, span: str) -> tuple[str, Any]:
    condition: dict[str, Any] = {"IfMatch": content.etag} if content.etag else {}
    answer = client.s3.get_object(
        Bucket=content.url.bucket, Key=content.url.prefix, Range=span, **condition
    )
    return answer["ETag"], answer["Body"]


def in_order(
    action: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int = AHEAD
) -> Iterator[_Result]:
    """Yield `action` of each item, in their order; so many of them are under way at a time."""
    begun: deque[Future[_Result]] = deque()
    for item in items:
        begun.append(_begin(action, item))
        if len(begun) > ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def _begin(action: Callable[[_Item], _Result], item: _Item) -> "Future[_Result]":
    """Call `action` in a thread that holds up the end of the process no more than a read would."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(action(item))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="read-ahead", daemon=True).start()
    return future


class ObjectFile(io.RawIOBase):
    """An object as a file to read. Who reads on where the last read ended has the next bytes soon.

    For one thread. Errors are those of `read_range`.
    """

    def __init__(self, client: Client, content: Content) -> None:
        super().__init__()
        self._client, self._content = client, content
        self._position = 0
        self._start, self._held = 0, memoryview(b"")
        self._begun: deque[tuple[int, Future[bytearray]]] = deque()
        self._next = 0
        """Where the piece after those that are begun starts."""
        self._piece = _FIRST_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}
        if base[whence] + offset < 0:
            raise ValueError(f"{base[whence] + offset} is before the file's first byte")
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self.closed:
            raise ValueError("The file is closed.")
        target = memoryview(buffer).cast("B")
        if not target or self._position >= self._content.size:
            return 0
        if not self._holds(self._position):
            if len(target) > _FIRST_BYTES and not self._is_next(self._position):
                # All that is asked for, and nothing beyond it: who goes from place to place.
                return self._fill(target)
            self._held, self._start = self._piece_at(self._position), self._position
        some = self._held[self._position - self._start :][: len(target)]
        target[: len(some)] = some
        self._position += len(some)
        return len(some)

    def readall(self) -> bytes:
        found = bytearray(max(0, self._content.size - self._position))
        self._fill(memoryview(found))
        return bytes(found)

    def close(self) -> None:
        # Of what is begun, nobody waits for the end.
        self._begun.clear()
        self._held = memoryview(b"")
        super().close()

    def _holds(self, position: int) -> bool:
        return self._start <= position < self._start + len(self._held)

    def _is_next(self, position: int) -> bool:
        return position == (self._begun[0][0] if self._begun else self._next)

    def _fill(self, target: memoryview) -> int:
        """Read the next bytes into `target`, past what is begun; return how many there were."""
        first, got = self._position, 0
        last = min(first + len(target), self._content.size)
        starts = range(first, last, PIECE_BYTES)
        for piece in in_order(
            lambda start: read_range(
                self._client, self._content, start, min(PIECE_BYTES, last - start)
            ),
            starts,
        ):
            target[got : got + len(piece)] = piece
            got += len(piece)
        self._position = first + got
        return got

    def _piece_at(self, position: int) -> memoryview:
        """Return bytes from `position` on; read ahead if they are those that were to come next."""
        if position and self._is_next(position):
            if not self._begun:
                self._begin()
            _, future = self._begun.popleft()
            self._piece = min(2 * self._piece, PIECE_BYTES)
            while len(self._begun) < AHEAD and self._next < self._content.size:
                self._begin()
            return memoryview(future.result())
        self._begun.clear()
        self._piece = _FIRST_BYTES
        found = read_range(self._client, self._content, position, _FIRST_BYTES)
        self._next = position + len(found)
        return memoryview(found)

    def _begin(self) -> None:
        start, count = self._next, self._piece
        future = _begin(lambda _: read_range(self._client, self._content, start, count), None)
        self._begun.append((start, future))
        self._next = min(start + count, self._content.size)
