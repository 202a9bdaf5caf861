"""A mirror of releases on this machine, with archives in the official layouts."""

import hashlib
import io
import json
import platform
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

from local.build import releases

SILENT_SECONDS = 120
"""Of a server that never begins to send, unless the test ends before."""


def archive(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar archive of files, by their paths in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


class Mirror:
    """What a server has: file name -> content, and how it misbehaves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.silent: set[str] = set()
        """Files that it never begins to send."""
        self.broken: set[str] = set()
        """Files of which it sends half."""
        self.asked: list[str] = []
        self.address = ""

    def pins(self, releases: Mapping[str, tuple[str, Mapping[str, str]]]) -> str:
        """A file of releases: name -> name of the file, members."""
        pinned = {
            name: {
                "version": "v1",
                "members": dict(members),
                "archives": {
                    platform.machine(): {
                        "url": f"{self.address}/{file}",
                        "sha256": hashlib.sha256(self.files[file]).hexdigest(),
                    }
                },
            }
            for name, (file, members) in releases.items()
        }
        return json.dumps(pinned)

    def write_pins(self, path: Path, releases: Mapping[str, tuple[str, Mapping[str, str]]]) -> Path:
        path.write_text(self.pins(releases))
        return path


@contextmanager
def serving() -> Iterator[Mirror]:
    """Run a mirror. Who asks it is patient: its threads may have to wait for their turn."""
    with patch.object(releases, "ANSWER_SECONDS", 60.0), _served() as mirror:
        try:
            yield mirror
        finally:
            # It would say its last words where the test's output is closed already.
            for thread in threading.enumerate():
                if thread.name == releases.REPORT:
                    thread.join(60)


@contextmanager
def _served() -> Iterator[Mirror]:
    mirror = Mirror()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            mirror.asked.append(name)
            if name in mirror.silent:
                ended.wait(SILENT_SECONDS)
                return
            if name not in mirror.files:
                self.send_error(404)
                return
            content = mirror.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if name in mirror.broken else content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    mirror.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield mirror
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
