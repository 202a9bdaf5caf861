"""A gateway's process, forms to send to it, and pictures."""

from __future__ import annotations

import http.client
import io
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.ports import held_ports
from tests.serving.memory_group import MemoryGroup
from tests.serving_fixtures import ROOT, START_SECONDS

BOUNDARY = "----pictures"
# Keras' `evaluate` gives as many digits as this loss has.
METRICS = {"loss": 0.032210540771484375, "accuracy": 0.991, "steps": 1406, "train_seconds": 22.166}
TENSORBOARD = "http://tensorboard.example:6006"


@dataclass
class Gateway:
    process: subprocess.Popen[bytes]
    port: int
    context: ssl.SSLContext | None = None

    def call(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context)
            if self.context
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        )
        try:
            connection.request(
                method, path, body, {k.replace("_", "-"): v for k, v in headers.items()}
            )
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def post(self, *pictures: bytes, field: str = "images") -> tuple[int, Any]:
        status, _, body = self.call(
            "POST", "/v1/predict", form(*pictures, field=field), Content_Type=FORM
        )
        return status, json.loads(body)


FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(*pictures: bytes, field: str = "images", signature: str = "") -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; '
        f'filename="{index}.png"\r\n\r\n'.encode()
        + picture
        + b"\r\n"
        for index, picture in enumerate(pictures)
    ]
    if signature:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="signature_name"\r\n\r\n'
        parts.append(f"{head}{signature}\r\n".encode())
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def running_gateway(
    rest_url: str,
    manifest_dir: Path,
    *flags: str,
    model: str = "mnist",
    context: ssl.SSLContext | None = None,
    port: int = 0,
    group: MemoryGroup | None = None,
) -> Iterator[Gateway]:
    """Run a gateway until the block ends; with `group`, its memory is bounded.

    A `port` that is given is held by the caller.
    """
    with ExitStack() as stack:
        port = port or stack.enter_context(held_ports(1))[0]
        # The shell joins the group and becomes the gateway.
        prefix = ["sh", "-c", group.join + ' && exec "$@"', "sh"] if group else []
        log = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            [
                *prefix,
                sys.executable,
                "-m",
                "serving.gateway",
                f"--port={port}",
                f"--model_name={model}",
                f"--rest_url={rest_url}",
                f"--manifest_dir={manifest_dir}",
                f"--tensorboard_url={TENSORBOARD}",
                *flags,
            ],
            cwd=ROOT,
            stderr=log,
        )
        gateway = Gateway(process, port, context)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    assert gateway.call("GET", "/healthz")[0] == 200
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.02)
            yield gateway
        finally:
            process.terminate()
            try:
                status = process.wait(60)
            finally:
                process.kill()
                process.wait()
            assert status in (0, -15)
            log.seek(0)
            text = log.read().decode()
            # Whatever it was asked: nothing that nobody expected.
            assert "Traceback" not in text, text


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def band_picture(digit: int) -> Image.Image:
    """Return a picture that the models of the tests take for this digit."""
    pixels = np.zeros(784, np.uint8)
    pixels[digit * 78 : (digit + 1) * 78] = 255
    picture = pixels.reshape(28, 28)
    picture[:, [0, -1]] = picture[[0, -1]] = 0
    return Image.fromarray(picture)


def band(digit: int) -> bytes:
    """Return the same as a PNG file."""
    return encoded(band_picture(digit))
