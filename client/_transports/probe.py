"""What listens on a port: asked only after a call has failed, to say why."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ..errors import ConnectionFailed

if TYPE_CHECKING:
    import ssl

    from .tls import Tls

NOTHING = "nothing"
HTTP1 = "HTTP/1"
HTTP2 = "HTTP/2"
TLS = "TLS"
DROPS = "connections dropped"
SILENT = "silence"
UNKNOWN = "unknown"

_REQUEST = b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
#: RFC 9113, 4.1: three bytes of length come before a frame's type, and SETTINGS is type 4. An
#: HTTP/2 server sends that frame first, whatever it was sent.
_SETTINGS_FRAME = 4
#: RFC 8446, 5.1: content type 21, and the version that all say, 3.x.
_TLS_ALERT = b"\x15\x03"


class TlsProblem(Exception):
    """Why no TLS connection came about, in the words of the TLS library."""


def what_listens(
    host: str, port: int, timeout: float = 1.0, context: ssl.SSLContext | None = None
) -> str:
    """Connect to `host:port` and return NOTHING, DROPS, SILENT, HTTP1, HTTP2, TLS or UNKNOWN.

    The protocols tell themselves apart whichever is spoken to them, so one request is enough.
    DROPS is what a load balancer does while no server is behind it: it takes the connection and
    ends it without a word. SILENT is one that still sends to a machine that was lost.
    With `context` they are asked for inside TLS. Takes about twice `timeout` seconds at most.

    Raises:
        TlsProblem: there is no TLS with this context.
    """
    try:
        connection = socket.create_connection((host, port), timeout)
    except (OSError, UnicodeError):  # UnicodeError: not a name that DNS can have.
        return NOTHING
    answer, closed = b"", False
    try:
        # The encrypted socket takes the connection over, and closes it.
        with connection if context is None else _encrypted(connection, host, context) as stream:
            stream.sendall(_REQUEST)
            while len(answer) < 5:
                received = stream.recv(64)
                if not received:
                    closed = True
                    break
                answer += received
    except TimeoutError:
        pass  # Silent: what has come so far decides.
    except OSError as exc:
        # Refused: the same. But under TLS 1.3 a server says only now what it thinks of the
        # client's certificate.
        if context is not None:
            raise TlsProblem(_reason(exc)) from exc
        closed = True
    if context is not None and closed and not answer:
        raise TlsProblem("closed by the server after the handshake")
    if not answer:
        return DROPS if closed else SILENT
    if answer.startswith(b"HTTP/"):
        return HTTP1
    if answer[:2] == _TLS_ALERT:
        return TLS
    if answer[3:4] == bytes([_SETTINGS_FRAME]):
        return HTTP2
    return UNKNOWN


def listens_inside(address: str, host: str, port: int, plain: str, timeout: float, tls: Tls) -> str:
    """Return what is inside the TLS of a port that, asked without, is `plain`.

    Raises:
        ConnectionFailed: there is no TLS, or none with these settings; with what to do.
    """
    if plain in (HTTP1, HTTP2):
        raise ConnectionFailed(
            f"{address} speaks {plain} without TLS. Leave out TLS, or give the port that has it."
        )
    context = tls.context()
    # gRPC servers close connections that do not offer h2.
    context.set_alpn_protocols(["http/1.1", "h2"])
    try:
        return what_listens(host, port, timeout, context)
    except TlsProblem as exc:
        raise ConnectionFailed(
            f"No TLS connection to {address} ({exc}). "
            "Check the authority, the name in the server's certificate, and whether it asks for "
            "a client's certificate.",
            transient=plain in (DROPS, SILENT),
        ) from exc


def _encrypted(connection: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _reason(error: OSError) -> str:
    """Return what is behind an error of TLS: verification, an alert, or the connection's end."""
    said = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror
    return str(said or type(error).__name__).rstrip(".")
