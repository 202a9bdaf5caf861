"""A store that does not answer yet: what stands before it is opened by the test."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.seaweedfs import SeaweedFS


class Gate(socketserver.ThreadingTCPServer):
    """A port that refuses connections until it is opened, then passes them on to the store.

    It can be slow: what is on its way to it is then held up in the buffers of this machine, which
    are larger than those of most networks.
    """

    request_queue_size = 128
    """Of 16 that connect at once, more than 5 would come a second later, or three, or seven."""

    def __init__(self, store: SeaweedFS) -> None:
        super().__init__(("127.0.0.1", 0), _Passage, bind_and_activate=False)
        address = urlsplit(store.endpoint)
        self.cuts: list[int] = []
        """After so many bytes of answers the next connections are cut, each after one of these."""
        self.bytes_per_second = 0.0
        """Of all connections and both directions together; 0: as fast as they go."""
        self._free_at, self._lock = 0.0, threading.Lock()
        self.beyond = (address.hostname, address.port)
        self.server_bind()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def open(self) -> None:
        """Let connections through, until the end of the `with` block."""
        self.server_activate()
        self._thread.start()

    def passes(self, count: int) -> None:
        """Take the time that so many bytes take."""
        if not self.bytes_per_second:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + count / self.bytes_per_second
            wait = self._free_at - now
        time.sleep(wait)

    def __exit__(self, *error: object) -> None:
        if self._thread.ident:
            self.shutdown()
        super().__exit__(*error)


class _Passage(socketserver.BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        with socket.create_connection(self.server.beyond) as store:
            most = self.server.cuts.pop(0) if self.server.cuts else None
            passes = self.server.passes
            answers = threading.Thread(target=_pass_on, args=(store, self.request, passes, most))
            answers.start()
            _pass_on(self.request, store, passes)
            answers.join()


def _pass_on(
    source: socket.socket,
    target: socket.socket,
    passes: Callable[[int], None],
    most: int | None = None,
) -> None:
    with contextlib.suppress(OSError):
        while (most is None or most > 0) and (data := source.recv(min(65536, most or 65536))):
            passes(len(data))
            target.sendall(data)
            if most is not None:
                most -= len(data)
        target.shutdown(socket.SHUT_WR)
        if most is not None:
            # Whoever asks for more is told that nobody reads it.
            target.shutdown(socket.SHUT_RD)
