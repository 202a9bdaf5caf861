"""The gateway process in front of a real model server. The page itself is in test_page."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving.conftest import served
from tests.serving.gateway.test_pictures import encoded, seven
from tests.serving_fixtures import ROOT, ModelServer, free_port

BOUNDARY = "----pictures"
METRICS = {"loss": 0.0312, "accuracy": 0.991, "steps": 1406, "train_seconds": 22.166}
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
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context)
            if self.context
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
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


def form(*pictures: bytes, field: str = "images") -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; '
        f'filename="{index}.png"\r\n\r\n'.encode()
        + picture
        + b"\r\n"
        for index, picture in enumerate(pictures)
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def running_gateway(
    rest_url: str, manifest_dir: Path, *flags: str, context: ssl.SSLContext | None = None
) -> Iterator[Gateway]:
    port = free_port()
    log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process is)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "serving.gateway",
            f"--port={port}",
            "--model_name=mnist",
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
        deadline = time.monotonic() + 30
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
        assert process.wait(10) in (0, -15)
        log.seek(0)
        text = log.read().decode()
        log.close()
        # Whatever it was asked: nothing that nobody expected.
        assert "Traceback" not in text, text


@pytest.fixture(scope="module")
def gateway(mnist: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifests = tmp_path_factory.mktemp("manifests")
    (manifests / "7").mkdir()
    manifest = {"metrics": METRICS, "run_hash": "ab" * 32, "files": []}
    (manifests / "7" / "manifest.json").write_text(json.dumps(manifest))
    with running_gateway(mnist.rest_url, manifests) as running:
        yield running


def band(digit: int) -> bytes:
    """Return a picture that the model of the tests takes for this digit."""
    pixels = np.zeros(784, np.uint8)
    pixels[digit * 78 : (digit + 1) * 78] = 255
    picture = pixels.reshape(28, 28)
    picture[:, [0, -1]] = picture[[0, -1]] = 0
    return encoded(Image.fromarray(picture))


def test_pictures_are_answered_in_order_with_the_version(gateway: Gateway) -> None:
    status, answer = gateway.post(band(3), band(8))
    assert status == 200
    assert answer["model_name"] == "mnist"
    assert answer["model_version"] == 7
    assert answer["predictions"] == [3, 8]
    assert np.argmax(answer["probabilities"], 1).tolist() == [3, 8]
    assert answer["files"] == ["0.png", "1.png"]
    assert answer["seen"][0].startswith("data:image/png;base64,")


def test_status_has_metrics_and_links(gateway: Gateway) -> None:
    status, _, body = gateway.call("GET", "/status")
    assert status == 200
    assert json.loads(body) == {
        "model_name": "mnist",
        "model_version": 7,
        "state": "AVAILABLE",
        "metrics": METRICS,
        "run_hash": "ab" * 32,
        "tensorboard_url": TENSORBOARD,
    }


@pytest.mark.parametrize(
    ("body", "content_type", "status", "text"),
    [
        (
            form(b"no picture"),
            FORM,
            400,
            "Picture '0.png' can't be used: it can't be read as one of",
        ),
        (form(encoded(Image.new("L", (50, 50)))), FORM, 400, "it is empty"),
        (form(band(1), field="other"), FORM, 400, "no file in the field 'images'"),
        (form(), FORM, 400, "no file in the field 'images'"),
        (b"broken", FORM, 400, ""),
        (b"x", "multipart/form-data", 400, "The form can't be read"),
        (b"{}", "application/json", 415, "Send multipart/form-data"),
        (form(bytes(4 * 2**20 + 1)), FORM, 413, "'0.png' is larger than 4 MiB."),
        (form(*[bytes(3 * 2**20)] * 6), FORM, 413, "The request is larger than 16 MiB."),
        (form(*[band(1)] * 17), FORM, 400, "Too many files"),
    ],
    ids=["text", "empty", "field", "none", "junk", "boundary", "json", "file", "all", "many"],
)
def test_bad_requests_are_clear_4xx(
    gateway: Gateway, body: bytes, content_type: str, status: int, text: str
) -> None:
    got, _, answer = gateway.call("POST", "/v1/predict", body, Content_Type=content_type)
    assert got == status
    assert text in json.loads(answer)["error"]


def test_other_methods_and_paths_are_json_errors(gateway: Gateway) -> None:
    status, headers, body = gateway.call("GET", "/v1/predict")
    assert (status, headers["allow"]) == (405, "POST")
    assert json.loads(body) == {"error": "Method Not Allowed"}
    assert gateway.call("GET", "/nope")[0] == 404
    assert gateway.call("GET", "/web/../gateway.py")[0] == 404


def test_the_page_needs_nothing_from_elsewhere(gateway: Gateway) -> None:
    status, headers, page = gateway.call("GET", "/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    types = {"page.js": "javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}
    for name, kind in types.items():
        path = f"/web/{name}"
        assert path.encode() in page
        status, headers, content = gateway.call("GET", path)
        assert status == 200
        assert kind in headers["content-type"]
        assert b"https://" not in content
    assert b"//" not in page.replace(b"<!--", b"")


def test_a_browser_that_has_a_file_of_the_page_is_not_sent_it_again(gateway: Gateway) -> None:
    _, headers, content = gateway.call("GET", "/web/page.js")
    assert len(content) > 1000
    tag = headers["etag"]
    status, headers, content = gateway.call("GET", "/web/page.js", If_None_Match=f'"old", {tag}')
    assert (status, headers["etag"], content) == (304, tag, b"")
    assert gateway.call("GET", "/web/page.js", If_None_Match='"old"')[0] == 200


def test_without_a_model_server_the_gateway_lives_and_says_so(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with running_gateway(url, tmp_path) as gateway:
        status, answer = gateway.post(encoded(seven()))
        assert (status, answer["error"]) == (503, f"The model server at {url} does not answer.")
        status, _, body = gateway.call("GET", "/status")
        assert (status, json.loads(body)["state"]) == (200, "UNREACHABLE")


def test_a_model_without_the_signature_is_a_502(models: Path, tmp_path: Path) -> None:
    from tests.serving_fixtures import running_server

    base = served(models, tmp_path / "mnist", "half_plus_two", 1)
    with running_server(base, "mnist") as server, running_gateway(server.rest_url, base) as gateway:
        status, answer = gateway.post(encoded(seven()))
        assert status == 502
        assert answer["error"] == (
            'Serving signature name: "image_bytes" not found in signature def'
        )
