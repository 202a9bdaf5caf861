"""Who may ask: a token that all callers share, and the server's certificate.

TensorFlow Serving knows only the certificate (`--ssl_config_file`); the token is this server's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from .errors import InvalidArgument

REFUSAL = "The request has no token, or a wrong one. Send it as 'Authorization: Bearer TOKEN'."
"""What a caller is told; gRPC's UNAUTHENTICATED, HTTP's 401."""

_READ_AWAY_BYTES = 16 * 2**20
_READ_AWAY_SECONDS = 3.0

_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]


class Token:
    """The token that a request has to bring, in one of two headers.

    `Authorization: Bearer TOKEN` is the web's own; `X-Auth-Token: TOKEN` is what clients of managed
    services send. gRPC's metadata has the same names in lower case.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    @classmethod
    def read(cls, path: str) -> Token | None:
        """Return the token that is alone in a file; None for an empty path.

        Raises:
            InvalidArgument: the file can't be read, or has no token.
        """
        if not path:
            return None
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise InvalidArgument(f"--token_file={path}: {reason}") from None
        if not text or not text.isascii() or not text.isprintable():
            raise InvalidArgument(
                f"--token_file={path} has no token. Put one into it, of printable ASCII, alone."
            )
        return cls(text)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request that is let in."""
        return {"authorization": f"Bearer {self._token.decode()}"}

    @property
    def digest(self) -> str:
        """SHA-256 of the token in hexadecimal digits: enough to compare by."""
        return hashlib.sha256(self._token).hexdigest()

    def is_in(self, headers: Mapping[str, str | bytes]) -> bool:
        """Say whether `headers`, names in lower case, have the token."""
        scheme, _, bearer = _bytes(headers.get("authorization", "")).partition(b" ")
        given = bearer if scheme.lower() == b"bearer" else _bytes(headers.get("x-auth-token", ""))
        # In the same time, however much of it is right.
        return hmac.compare_digest(given.strip(), self._token)

    def guard(
        self,
        app: _App,
        is_open: Callable[[str], bool] = lambda _path: False,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> _App:
        """Return an ASGI application that answers 401 in place of `app` without the token.

        Args:
            app: answers the other requests, and OPTIONS without a body: a browser asks by that
                whether it may send a token, and never sends one with it.
            is_open: path -> whether it needs none.
            headers: further ones of the answer 401.
        """
        further = tuple(headers)

        async def guarded(scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
            if scope["type"] != "http" or is_open(scope["path"]):
                await app(scope, receive, send)
                return
            given = _headers(scope)
            asks = scope["method"] == "OPTIONS" and not _has_body(given)
            if asks or self.is_in(given):
                await app(scope, receive, send)
                return
            # A client that asks before it sends its body would be told to.
            if "expect" not in given:
                await _read_away(receive)
            body = json.dumps({"error": REFUSAL}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"www-authenticate", b"Bearer"),
                (b"connection", b"close"),
                *further,
            ]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return guarded


async def _read_away(receive: _Receive) -> None:
    """Read a body that nobody wants: most clients look for an answer only after they have sent it.

    What is longer than any picture or batch is cut off, and so is what does not come.
    """
    left = _READ_AWAY_BYTES
    try:
        async with asyncio.timeout(_READ_AWAY_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _has_body(headers: Mapping[str, bytes]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", b"0") != b"0"


def _headers(scope: Mapping[str, Any]) -> dict[str, bytes]:
    return {name.decode("latin-1"): value for name, value in scope["headers"]}


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
