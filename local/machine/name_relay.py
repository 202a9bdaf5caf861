"""Passes questions for names on to this machine's name servers, which only it can reach.

A process of its own (`resolver`) that uses nothing but the standard library: it runs as a script,
from a copy in the cluster's folder. It knows nothing of DNS but the length that goes before a
message over TCP.
"""

import socket
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer, ThreadingUDPServer
from threading import Thread

SYSTEM = Path("/etc/resolv.conf")
PORT = 53
SECONDS = 4.0
"""How long a server may think; whoever asks waits 5 s as a rule."""


def servers(text: str) -> list[str]:
    """The addresses of the name servers in a resolv.conf."""
    words = (line.split() for line in text.splitlines())
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


def over_udp(address: str, question: bytes) -> bytes:
    """Ask a server; its answer.

    Raises:
        OSError: there was none.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(SECONDS)
        one.connect((address, PORT))
        one.send(question)
        return one.recv(65535)


def over_tcp(address: str, question: bytes) -> bytes:
    """As `over_udp`, for answers of any length."""
    with socket.create_connection((address, PORT), SECONDS) as one:
        one.sendall(struct.pack("!H", len(question)) + question)
        return read_message(one)


def read_message(one: socket.socket) -> bytes:
    """Read a message that its length goes before.

    Raises:
        OSError: the other side ends or falls silent first.
    """
    with one.makefile("rb") as stream:
        head = stream.read(2)
        message = stream.read(struct.unpack("!H", head)[0]) if len(head) == 2 else b""
    if not message:
        raise ConnectionError("no message")
    return message


def ask(question: bytes, transport: Callable[[str, bytes], bytes]) -> bytes:
    """The answer of the first of the machine's servers that gives one.

    They are read anew each time: on the move a machine gets others.

    Raises:
        OSError: none answers.
    """
    failure = OSError(f"{SYSTEM} names no server")
    for address in servers(SYSTEM.read_text()):
        try:
            return transport(address, question)
        except OSError as error:
            failure = OSError(f"{address}: {error}")
    raise failure


class _Udp(BaseRequestHandler):
    def handle(self) -> None:
        question, one = self.request
        try:
            one.sendto(ask(question, over_udp), self.client_address)
        except OSError as error:
            _say(error)


class _Tcp(BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(SECONDS)
        try:
            answer = ask(read_message(self.request), over_tcp)
            self.request.sendall(struct.pack("!H", len(answer)) + answer)
        except OSError as error:
            _say(error)


def _say(error: OSError) -> None:
    print(error, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Serve at an address and a port until this process is ended."""
    address, port = arguments
    with (
        ThreadingUDPServer((address, int(port)), _Udp) as udp,
        ThreadingTCPServer((address, int(port)), _Tcp) as tcp,
    ):
        Thread(target=tcp.serve_forever, daemon=True).start()
        udp.serve_forever()


if __name__ == "__main__":
    ThreadingTCPServer.allow_reuse_address = True
    main(sys.argv[1:])
