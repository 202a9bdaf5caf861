"""What listens on a port: asked only after a call has failed, to say why."""

from __future__ import annotations

import socket

NOTHING = "nothing"
HTTP1 = "HTTP/1"
HTTP2 = "HTTP/2"
UNKNOWN = "unknown"

_REQUEST = b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
#: RFC 9113, 4.1: three bytes of length come before a frame's type, and SETTINGS is type 4. An
#: HTTP/2 server sends that frame first, whatever it was sent.
_SETTINGS_FRAME = 4


def what_listens(host: str, port: int, timeout: float = 1.0) -> str:
    """Connect to `host:port` and return NOTHING, HTTP1, HTTP2 or UNKNOWN.

    The protocols tell themselves apart whichever is spoken to them, so one request is enough.
    Takes at most twice `timeout` seconds.
    """
    try:
        connection = socket.create_connection((host, port), timeout)
    except (OSError, UnicodeError):  # UnicodeError: not a name that DNS can have.
        return NOTHING
    with connection:
        answer = b""
        try:
            connection.sendall(_REQUEST)
            while len(answer) < 5:
                received = connection.recv(64)
                if not received:
                    break
                answer += received
        except OSError:
            pass  # Refused or silent: what has come so far decides.
    if answer.startswith(b"HTTP/"):
        return HTTP1
    if answer[3:4] == bytes([_SETTINGS_FRAME]):
        return HTTP2
    return UNKNOWN
