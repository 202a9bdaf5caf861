"""The way to the front end and back: two sockets, each read by a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable

from ...budget import LARGE_BYTES
from .frames import HEADER, Kind, pack

log = logging.getLogger(__name__)

_READ_BYTES = 2 * 2**20
"""More than the largest frame on the socket for small ones, whose heads have at most 1 MiB."""

OnFrame = Callable[[int, int, int, bytes, int, bytes], None]
"""Gets kind, status, id, head, microseconds and body of a frame."""


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

    def answer(self, kind: int, status: int, id: int, head: bytes, body: bytes) -> None:
        """Write an answer: a large one at once, a small one at the next `flush`."""
        frame = HEADER.pack(kind, status, len(head), id, 0, len(body))
        if len(body) > LARGE_BYTES:
            with self._writing_large:
                self._send(self._large, frame + head)
                self._send(self._large, body)
        else:
            self._out.append(frame + head + body)

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

    def tell(self, kind: Kind, *, status: int = 0, micros: int = 0, body: bytes = b"") -> None:
        """Write a frame that is no answer."""
        self._out.append(pack(kind, status=status, micros=micros, body=len(body)) + body)
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
        receive, on_frame, on_idle = self._small.recv_into, self._on_frame, self._on_idle
        unpack, header_size = HEADER.unpack_from, HEADER.size
        end = 0
        while count := receive(view[end:]):
            end += count
            start = 0
            while end - start >= header_size:
                kind, status, head_size, id, micros, body_size = unpack(buffer, start)
                head = start + header_size
                body = head + head_size
                after = body + body_size
                if after > end:
                    break
                on_frame(kind, status, id, bytes(view[head:body]), micros, bytes(view[body:after]))
                start = after
            if start:
                # A frame that is not all there yet goes to the front.
                buffer[: end - start] = buffer[start:end]
                end -= start
            on_idle()

    def _read_large(self) -> None:
        while header := self._received(HEADER.size):
            kind, status, head_size, id, micros, body_size = HEADER.unpack(header)
            head, body = self._received(head_size), self._received(body_size)
            self._on_frame(kind, status, id, head, micros, body)
            del head, body  # Not until the next one comes.
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
