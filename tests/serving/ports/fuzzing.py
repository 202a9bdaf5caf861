"""Malformed requests, made from a seed: the same ones on every run."""

from __future__ import annotations

import gzip
import json
import random
import socket
import struct
from collections.abc import Iterator

import grpc

GRPC_METHODS = (
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/Regress",
    "/tensorflow.serving.PredictionService/MultiInference",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/tensorflow.serving.ModelService/GetModelStatus",
    "/grpc.health.v1.Health/Check",
    "/tensorflow.serving.PredictionService/NoSuchMethod",
    "/no.such.Service/Predict",
)
# Reloading the configuration is left out: a request that changes what is served is no garbage.

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_TLS_HELLO = bytes.fromhex("16030100c6010000c20303") + bytes(range(180))
_HTTP_WORDS = (
    b"GET", b"POST", b"PUT", b"OPTIONS", b"\x00", b" ", b"\r\n", b"\r\n\r\n", b":", b"HTTP/1.1",
    b"HTTP/9.9", b"Content-Length: ", b"Transfer-Encoding: chunked", b"-1", b"99999999999999999999",
    b"/v1/models/mnist:predict", b"/v1/models/%ff%00", b"Host: x", b"Expect: 100-continue",
    b"Content-Encoding: gzip", b"Connection: upgrade", b"Upgrade: websocket", b"0\r\n\r\n",
    b"ffffffffffffffff\r\n", b"\xff\xfe", b"A" * 3000,
)  # fmt: skip


def mutated(random_: random.Random, content: bytes) -> bytes:
    """Return `content` with some bytes changed, cut out, doubled or cut off."""
    changed = bytearray(content)
    for _ in range(random_.randint(1, 8)):
        place = random_.randrange(len(changed) + 1)
        length = random_.choice((1, 1, 2, 4, 16))
        kind = random_.randrange(5)
        if kind == 0:
            changed[place : place + length] = random_.randbytes(length)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        elif kind == 3 and place < len(changed):
            changed[place] ^= 1 << random_.randrange(8)
        elif len(changed) > 1:
            del changed[random_.randrange(1, len(changed)) :]
    return bytes(changed)


def grpc_messages(random_: random.Random, valid: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield method and message bytes: random ones, and mutations of a `valid` one."""
    for _ in range(count):
        method = random_.choice(GRPC_METHODS)
        if random_.random() < 0.2:
            yield method, random_.randbytes(random_.randrange(200))
        else:
            yield method, mutated(random_, valid)


def call(channel: grpc.Channel, method: str, message: bytes) -> grpc.StatusCode:
    """Call a gRPC method with any bytes as the message; return the status code."""
    try:
        channel.unary_unary(method)(message, timeout=30)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def http2_garbage(random_: random.Random, count: int) -> Iterator[bytes]:
    """Yield what a gRPC port may get on a fresh connection from something that is no client."""
    for _ in range(count):
        frames = b"".join(
            # Length (not always the true one), type, flags, stream, payload: RFC 9113, 4.1.
            struct.pack(">I", random_.choice((len(payload), 0, 1, 2**24 - 1)))[1:]
            + bytes([random_.randrange(12), random_.randrange(256)])
            + struct.pack(">I", random_.choice((0, 1, 3, 2**31 - 1, 2**32 - 1)))
            + payload
            for payload in (random_.randbytes(random_.randrange(40)) for _ in range(4))
        )
        yield random_.choice(
            (
                random_.randbytes(random_.randrange(1, 300)),
                _PREFACE + frames,
                mutated(random_, _PREFACE) + frames,
                _TLS_HELLO,
                mutated(random_, _TLS_HELLO),
                b"POST /v1/models/mnist:predict HTTP/1.1\r\nHost: x\r\n\r\n",
            )
        )


def http_garbage(random_: random.Random, valid: bytes, count: int) -> Iterator[bytes]:
    """Yield HTTP/1.1 requests that are broken as such, made of its words and of a `valid` body."""
    for _ in range(count):
        kind = random_.randrange(4)
        if kind == 0:
            yield random_.randbytes(random_.randrange(1, 300))
        elif kind == 1:
            yield b"".join(random_.choices(_HTTP_WORDS, k=random_.randrange(1, 12)))
        else:
            head = b"POST /v1/models/mnist:predict HTTP/1.1\r\nHost: x\r\nContent-Length: "
            yield mutated(random_, head + b"%d\r\n\r\n" % len(valid)) + valid[: kind * 200]


def http_requests(
    random_: random.Random, valid: bytes, count: int
) -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """Yield method, target, body and headers of sound HTTP whose content is not."""
    targets = (
        "/v1/models/mnist:predict",
        "/v1/models/mnist:classify",
        "/v1/models/mnist:regress",
        "/v1/models/mnist/versions/99999999999999999999:predict",
        "/v1/models/mnist/labels/%F0%9F%92%A9:predict",
        "/v1/models/../../etc/passwd:predict",
        "/v1/models/%00:predict",
        "/v1/models",
        "/v1//",
        "/v1/predict",
    )
    for _ in range(count):
        body, headers = mutated(random_, valid), {}
        kind = random_.randrange(8)
        if kind == 0:
            body = random_.randbytes(random_.randrange(300))
        elif kind == 1:
            body = mutated(random_, gzip.compress(valid, 1))
            headers["Content-Encoding"] = "gzip"
        elif kind == 2:
            depth = random_.randrange(1, 20000)
            body = b'{"instances":' + b"[" * depth + b"]" * random_.choice((depth, 0)) + b"}"
        elif kind == 3:
            body = json.dumps({"instances": [{"b64": "?"}], "signature_name": "no"}).encode()
        elif kind == 4:
            body = b"--x\r\nContent-Disposition: form-data; name=images\r\n\r\n" + body
            headers["Content-Type"] = mutated(random_, b"multipart/form-data; boundary=x").decode(
                "latin-1"
            )
            headers["Content-Type"] = "".join(filter(str.isprintable, headers["Content-Type"]))
        yield (
            random_.choice(("POST", "POST", "POST", "GET", "PUT")),
            random_.choice(targets),
            (body),
            headers,
        )


def throw_at(port: int, content: bytes) -> None:
    """Send bytes on a new connection, say that no more will come, and read what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            # The server may have had enough before all was sent.
            pass
