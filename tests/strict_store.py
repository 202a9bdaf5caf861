"""Stores that are stricter than most, or can less: moto's S3 behind rules of real ones.

What moto does not look at is looked at here: where a bucket's name stands, who asks, when, and by
which headers. It is a test's own process: a rule may change while it runs.
"""

import hashlib
import io
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from store.access import Access
from tests.certificates import Pem

DOMAIN = "s3.test"
"""What the stores' hosts are called; buckets have names below it."""
REGION = "eu-central-1"
SECRET_KEY = "secret-key-of-a-strict-store"
_CLOCKS_MAY_DIFFER_BY_SECONDS = 15 * 60

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(kw_only=True)
class Rules:
    """What a store asks for, and what it can't do. By default it does all that S3 does."""

    virtual_hosts_only: bool = False
    checksums: bool = True
    """Else any header of a checksum is refused, as by stores from before 2022."""
    conditions: str = "kept"
    """What becomes of If-None-Match: `kept`, `ignored` (as is If-Match then) or `refused`."""
    deletes_many: bool = True
    """Else DeleteObjects wants Content-MD5, which boto3 does not send any more."""
    refuses_writes: str = ""
    """By which code of S3; empty: it takes them."""
    session_token: str = ""
    clock_ahead_seconds: float = 0
    expired: bool = False


class _Refused(Exception):
    def __init__(self, status: str, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass
class StrictStore:
    """An S3-compatible store; use it as a context manager."""

    rules: Rules = field(default_factory=Rules)
    tls: Pem | None = None
    authority: str = ""
    """PEM text of who has signed the certificate."""
    busy: int = 0
    """So many of the next requests are told to come back later."""
    cuts: int = 0
    """So many of the next connections are cut while an answer is awaited."""
    asked: list[str] = field(default_factory=list)
    """Method and path of each request."""

    def __enter__(self) -> Self:
        self._moto: App = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        pem = (str(self.tls.certificate), str(self.tls.key)) if self.tls else None
        self._server = make_server(
            "127.0.0.1", 0, self, threaded=True, ssl_context=pem, request_handler=_Quiet
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://{DOMAIN}:{self._server.server_port}"

    def access(self, **other: Any) -> Access:
        """How this store is reached, or another way."""
        fits: dict[str, Any] = {
            "endpoint": self.endpoint,
            "region": REGION,
            "access_key": "ACCESS",
            "secret_key": SECRET_KEY,
            "session_token": self.rules.session_token,
            "addressing": "virtual" if self.rules.virtual_hosts_only else "",
            "ca_certificate": self.authority,
        }
        return Access(**{**fits, **other})

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        # One after the other: what S3 does at once, moto does in steps.
        with self._lock:
            # With a checksum as a trailer it comes in chunks, and no length is known before.
            chunked = environ.pop("HTTP_TRANSFER_ENCODING", "") == "chunked"
            body = environ["wsgi.input"].read(
                -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
            )
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
            self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            try:
                self._look(environ, body)
            except _Refused as refused:
                text = f"<Error><Code>{refused.code}</Code><Message>No.</Message></Error>".encode()
                start_response(refused.status, [("Content-Length", str(len(text)))])
                return [b"" if environ["REQUEST_METHOD"] == "HEAD" else text]
            return list(self._moto(environ, start_response))

    def _look(self, environ: dict[str, Any], body: bytes) -> None:
        rules = self.rules
        if self.cuts:
            self.cuts -= 1
            # What werkzeug's own server has for just this.
            environ["werkzeug.socket"].shutdown(2)
            raise _Refused("500 Cut", "Cut")
        if self.busy:
            self.busy -= 1
            raise _Refused("503 Slow Down", "SlowDown")
        self._require_bucket(environ)
        self._require_user(environ)
        if rules.refuses_writes and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status = "507 Full" if "Full" in rules.refuses_writes else "403 Forbidden"
            raise _Refused(status, rules.refuses_writes)
        headers = {name[5:] for name in environ if name.startswith("HTTP_")}
        new = [name for name in headers if re.match("X_AMZ_(CHECKSUM_(?!MODE)|SDK_|TRAILER)", name)]
        if not rules.checksums and new:
            raise _Refused("501 Not Implemented", "NotImplemented")
        content = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
        if len(content) == 64 and hashlib.sha256(body).hexdigest() != content:
            raise _Refused("400 Bad Request", "XAmzContentSHA256Mismatch")
        if not rules.deletes_many and environ["QUERY_STRING"].startswith("delete"):
            raise _Refused("400 Bad Request", "MissingContentMD5")
        if rules.conditions == "ignored":
            environ.pop("HTTP_IF_MATCH", None)
        if rules.conditions != "kept" and "HTTP_IF_NONE_MATCH" in environ:
            if rules.conditions == "refused":
                raise _Refused("501 Not Implemented", "NotImplemented")
            del environ["HTTP_IF_NONE_MATCH"]

    def _require_bucket(self, environ: dict[str, Any]) -> None:
        """Take the bucket from where it stands, and put it where moto looks for it."""
        host = environ["HTTP_HOST"].partition(":")[0]
        if host != DOMAIN:
            bucket = host.removesuffix(f".{DOMAIN}")
            environ["PATH_INFO"] = f"/{bucket}{environ['PATH_INFO']}"
            environ["RAW_URI"] = environ["REQUEST_URI"] = f"/{bucket}{environ['REQUEST_URI']}"
        elif self.rules.virtual_hosts_only and environ["PATH_INFO"] != "/":
            raise _Refused("403 Forbidden", "SecondLevelDomainForbidden")
        environ["HTTP_HOST"] = f"localhost:{self._server.server_port}"

    def _require_user(self, environ: dict[str, Any]) -> None:
        if "Credential=ACCESS/" not in environ.get("HTTP_AUTHORIZATION", ""):
            raise _Refused("403 Forbidden", "InvalidAccessKeyId")
        if environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "") != self.rules.session_token:
            raise _Refused("400 Bad Request", "InvalidToken")
        if self.rules.expired:
            raise _Refused("400 Bad Request", "ExpiredToken")
        signed = datetime.strptime(environ["HTTP_X_AMZ_DATE"], "%Y%m%dT%H%M%SZ")
        now = datetime.now(UTC).timestamp() + self.rules.clock_ahead_seconds
        if abs(now - signed.replace(tzinfo=UTC).timestamp()) > _CLOCKS_MAY_DIFFER_BY_SECONDS:
            raise _Refused("403 Forbidden", "RequestTimeTooSkewed")


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Nothing: requests are in `asked`."""
