"""The way to the front end and back: two sockets, each read by a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

from ...budget import LARGE_BYTES
from .frames import ENTRY, HEADER, Entry, Kind, entries, pack

log = logging.getLogger(__name__)

_READ_BYTES = 2 * 2**20
"""More than the largest frame on the socket for small ones, whose heads have at most 1 MiB."""

OnFrame = Callable[[int, int, bytes, list[Entry]], None]
"""Gets kind, status and head of a frame, or of several alike, and the entries."""


class Link:
    """Reads and writes frames.

    Args:
        small: socket for frames with bodies of at most `LARGE_BYTES`.
        large: socket for the others.
        on_frame: called with each frame that comes, in the thread that read it; must not raise.
        on_idle: called when all that had arrived on a socket has been handed on, in that thread.
        on_lost: called when the front end has ended, perhaps twice.
    """

    def __init__(
        self,
        small: socket.socket,
        large: socket.socket,
        on_frame: OnFrame,
        on_idle: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._small = small
        self._large = large
        self._on_frame = on_frame
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._out: deque[bytes] = deque()
        self._writing = threading.Lock()
        self._writing_large = threading.Lock()

    def start(self) -> None:
        """Read from now on."""
        for name, read in (("requests", self._read_small), ("large requests", self._read_large)):
            threading.Thread(target=self._read, args=(read,), name=name, daemon=True).start()

    def answer(
        self, kind: int, status: int, head: bytes, ids: Sequence[int], bodies: Sequence[bytes]
    ) -> None:
        """Write answers of one status: large ones at once, small ones at the next `flush`."""
        parts = pack(kind, status, head, zip(ids, bodies, strict=True))
        if sum(map(len, bodies)) <= LARGE_BYTES:
            self._out.append(b"".join(parts))
            return
        with self._writing_large:
            for part in parts:
                self._send(self._large, part)

    def flush(self) -> None:
        """Write all answers that wait, at once."""
        out = self._out
        while out:
            with self._writing:
                frames = []
                while out:
                    frames.append(out.popleft())
                if frames:
                    self._send(self._small, frames[0] if len(frames) == 1 else b"".join(frames))

    def tell(
        self,
        kind: Kind,
        *,
        status: int = 0,
        head: bytes = b"",
        micros: int = 0,
        body: bytes = b"",
    ) -> None:
        """Write a frame that is no answer."""
        self._out.append(b"".join(pack(kind, status, head, [(0, body)], micros)))
        self.flush()

    def close(self) -> None:
        """End the front end, and the threads that read."""
        for one in (self._small, self._large):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # It has ended already.

    def _send(self, to: socket.socket, data: bytes) -> None:
        try:
            to.sendall(data)
        except OSError:
            # Whoever reads from there sees the end, and tells.
            return

    def _read(self, read: Callable[[], None]) -> None:
        try:
            read()
        except OSError:
            pass
        except Exception:
            log.exception("What the front end sent can't be read.")
        self._on_lost()

    def _read_small(self) -> None:
        buffer = bytearray(_READ_BYTES)
        view = memoryview(buffer)
        alike = _Alike(self._on_frame)
        end = 0
        while count := self._small.recv_into(view[end:]):
            end += count
            start = 0
            while end - start >= HEADER.size:
                kind, status, head_size, size = HEADER.unpack_from(buffer, start)
                head = start + HEADER.size
                body = head + head_size
                after = body + size
                if after > end:
                    break
                alike.add(kind, status, bytes(view[head:body]), entries(view[body:after]), size)
                start = after
            alike.flush()
            if start:
                # A frame that is not all there yet goes to the front.
                buffer[: end - start] = buffer[start:end]
                end -= start
            self._on_idle()

    def _read_large(self) -> None:
        while header := self._received(HEADER.size):
            kind, status, head_size, size = HEADER.unpack(header)
            head = self._received(head_size)
            # A large body is its frame's only one.
            id, micros, length = ENTRY.unpack(self._received(ENTRY.size))
            self._on_frame(kind, status, head, [Entry(id, micros, self._received(length))])
            self._on_idle()

    def _received(self, size: int) -> bytes:
        """Return so many bytes, without holding the GIL meanwhile; empty: the stream has ended.

        Raises:
            OSError: it has ended in between.
        """
        if not size:
            return b""
        data = self._large.recv(size, socket.MSG_WAITALL)
        while data and len(data) < size:  # A signal came.
            more = self._large.recv(size - len(data), socket.MSG_WAITALL)
            if not more:
                raise ConnectionResetError("a frame was cut off")
            data += more
        return data


class _Alike:
    """Frames in turn that have all but their entries in common are handed on as one.

    Args:
        on_frame: gets them.
    """

    def __init__(self, on_frame: OnFrame) -> None:
        self._on_frame = on_frame
        self._common: tuple[int, int, bytes] = (0, 0, b"")
        self._entries: list[Entry] = []
        self._bytes = 0

    def add(self, kind: int, status: int, head: bytes, entries: list[Entry], size: int) -> None:
        """Take a frame, whose entries have `size` bytes."""
        common = (kind, status, head)
        if common != self._common or self._bytes + size > LARGE_BYTES:
            self.flush()
            self._common = common
        self._entries += entries
        self._bytes += size

    def flush(self) -> None:
        """Hand on what was taken."""
        if self._entries:
            found, self._entries, self._bytes = self._entries, [], 0
            self._on_frame(*self._common, found)
