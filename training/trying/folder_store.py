"""A folder of this machine as a store that lists and gives its files, for one try of a boot file.

It knows what reading a data set takes, and answers only who has its access key, which is made anew.
"""

import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from store.access import ACCESS_KEY, ADDRESSING_STYLE, ENDPOINT, REGION, SECRET_KEY, SESSION_TOKEN

URL = "s3://dlstack-try/data"
_BUCKET, _PREFIX = "/dlstack-try", "data/"
_KEYS_IN_A_LIST = 1000


@contextmanager
def serving(folder: Path) -> Iterator[Mapping[str, str]]:
    """Serve a folder as `URL`; yield the variables by which the store is reached."""
    with _Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield {
                ENDPOINT: f"http://127.0.0.1:{server.server_port}",
                ACCESS_KEY: server.key,
                SECRET_KEY: server.key,
                SESSION_TOKEN: "",
                REGION: "us-east-1",
                ADDRESSING_STYLE: "path",
                **{name: _and_this_machine(name) for name in ("NO_PROXY", "no_proxy")},
            }
        finally:
            server.shutdown()
            thread.join()


def _and_this_machine(name: str) -> str:
    return ",".join(filter(None, [os.environ.get(name, ""), "127.0.0.1"]))


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    etag: str
    modified: float

    @classmethod
    def at(cls, path: Path) -> "_File":
        found = path.stat()
        return cls(
            path, found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"', found.st_mtime
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = secrets.token_hex(16)
        self.folder = folder

    def found(self) -> list[str]:
        """Return the keys of all files, sorted."""
        found = [
            os.path.relpath(os.path.join(above, name), self.folder)
            for above, _, names in os.walk(self.folder, followlinks=True)
            for name in names
        ]
        return sorted(_PREFIX + path.replace(os.sep, "/") for path in found)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:  # noqa: N802  # its name in http.server
        if f"Credential={self.server.key}/" not in self.headers.get("Authorization", ""):
            return self._refuse(HTTPStatus.FORBIDDEN, "InvalidAccessKeyId")
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path)[1:].partition("/")
        if f"/{bucket}" != _BUCKET:
            return self._refuse(HTTPStatus.NOT_FOUND, "NoSuchBucket")
        if not key:
            return self._list(parse_qs(url.query))
        path = self.server.folder / key.removeprefix(_PREFIX)
        if ".." in key.split("/") or not key.startswith(_PREFIX) or not path.is_file():
            return self._refuse(HTTPStatus.NOT_FOUND, "NoSuchKey")
        return self._give(_File.at(path))

    do_HEAD = do_GET  # noqa: N815

    def _list(self, query: Mapping[str, list[str]]) -> None:
        def asked(name: str) -> str:
            return query.get(name, [""])[0]

        prefix, after = asked("prefix"), asked("continuation-token")
        keys = [key for key in self.server.found() if key.startswith(prefix) and key > after]
        some = keys[:_KEYS_IN_A_LIST]
        more = len(keys) > len(some)
        found = [(key, _File.at(self.server.folder / key.removeprefix(_PREFIX))) for key in some]
        entries = "".join(
            f"<Contents><Key>{escape(quote(key))}</Key><Size>{file.size}</Size>"
            f"<ETag>{escape(file.etag)}</ETag><LastModified>"
            f"{datetime.fromtimestamp(file.modified, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
            "</LastModified></Contents>"
            for key, file in found
        )
        token = f"<NextContinuationToken>{escape(some[-1])}</NextContinuationToken>" if more else ""
        self._answer(
            HTTPStatus.OK,
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<EncodingType>url</EncodingType><KeyCount>{len(some)}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>",
        )

    def _give(self, file: _File) -> None:
        if self.headers.get("If-Match", file.etag) != file.etag:
            return self._refuse(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed")
        first, last = 0, file.size - 1
        span = self.headers.get("Range", "")
        if span:
            begin, _, end = span.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(int(end or last), last)
            if first > last:
                return self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange")
        self.send_response(HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("ETag", file.etag)
        self.end_headers()
        if self.command == "GET" and last >= first:
            with file.path.open("rb") as opened:
                self.wfile.flush()
                self.connection.sendfile(opened, first, last + 1 - first)

    def _refuse(self, status: HTTPStatus, code: str) -> None:
        self._answer(
            status, f"<Error><Code>{code}</Code><Message>{status.phrase}</Message></Error>"
        )

    def _answer(self, status: HTTPStatus, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal is the boot file's."""
