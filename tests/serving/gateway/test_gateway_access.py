"""The gateway with a certificate and a token, in front of a server that asks for the token too.

Also the REST interface that it passes on, encrypted or not.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.authentication import REFUSAL
from tests.certificates import Issued, issue
from tests.ports import free_port
from tests.serving.conftest import served
from tests.serving.gateway.chromium import PROGRAM, chromium
from tests.serving.gateway.running import FORM, Gateway, band, form, running_gateway
from tests.serving.gateway.test_gateway import gateway  # noqa: F401  (a fixture)
from tests.serving_fixtures import ROOT, ModelServer, running_server

TOKEN = "a-token-of-24-characters"
ZEROS = json.dumps({"instances": [[0.0] * 784]}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def certificate(folder: Path) -> tuple[Issued, Issued]:
    """Authority and server."""
    authority = issue(folder, "authority", None)
    return authority, issue(folder, "server", authority, "127.0.0.1")


@pytest.fixture(scope="module")
def locked(models: Path, folder: Path, certificate: tuple[Issued, Issued]) -> Iterator[Gateway]:
    """A gateway with all of it."""
    authority, server = certificate
    (folder / "token").write_text(TOKEN)
    base = served(models, folder / "mnist", "mnist", 7)
    token = f"--token_file={folder / 'token'}"
    with (
        running_server(base, "mnist", [token, "--rest_api_host=127.0.0.1"]) as running,
        running_gateway(
            running.rest_url,
            base,
            token,
            f"--tls_cert={server.pem.certificate}",
            f"--tls_key={server.pem.key}",
            "--rest_api_enable_cors_support",
            context=ssl.create_default_context(cafile=str(authority.pem.certificate)),
        ) as gateway_,
    ):
        yield gateway_


@pytest.mark.parametrize("path", ["/v1/models/mnist:predict", "/v1/predict"])
def test_a_page_of_another_origin_may_ask_with_the_token(locked: Gateway, path: str) -> None:
    """By a browser's rules: the question beforehand has no token, and refusals can be read."""
    headers = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type, Authorization, X-Auth-Token",
    }
    origin = {"Origin": "https://app.example"}
    asked = origin | {"Access-Control-Request-Method": "POST"}
    status, found, body = locked.call("OPTIONS", path, **asked)
    assert (status, body) == (200, b"")
    assert headers.items() <= {name.lower(): value for name, value in found.items()}.items()
    refused: tuple[tuple[dict[str, str], set[int]], ...] = (
        ({}, {401}),
        ({"X-Auth-Token": TOKEN}, {400, 415}),
    )
    for token, expected in refused:
        status, found, _ = locked.call("POST", path, b"{}", **origin, **token)
        assert status in expected
        assert headers.items() <= {name.lower(): value for name, value in found.items()}.items()


@pytest.mark.parametrize("header", ["X-Auth-Token", "Authorization"])
def test_with_the_token_all_is_answered(locked: Gateway, header: str) -> None:
    headers = {header: TOKEN if header == "X-Auth-Token" else f"Bearer {TOKEN}"}
    status, _, body = locked.call(
        "POST", "/v1/predict", form(band(7)), Content_Type=FORM, **headers
    )
    assert (status, json.loads(body)["model_version"]) == (200, 7)
    status, _, body = locked.call("GET", "/status", **headers)
    assert (status, json.loads(body)["state"]) == (200, "AVAILABLE")
    status, _, body = locked.call("POST", "/v1/models/mnist:predict", ZEROS, **headers)
    assert (status, len(json.loads(body)["predictions"])) == (200, 1)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1]])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/predict"),
        ("GET", "/status"),
        ("GET", "/v1/models/mnist"),
        ("POST", "/v1/models/mnist:predict"),
        ("GET", "/nope"),
    ],
)
def test_without_it_nothing_is(locked: Gateway, method: str, path: str, token: str) -> None:
    headers = {"X-Auth-Token": token} if token else {}
    status, answered, body = locked.call(method, path, b"x" * 100_000, **headers)
    assert (status, json.loads(body)) == (401, {"error": REFUSAL})
    assert answered["www-authenticate"] == "Bearer"


def test_a_refused_client_that_never_sends_its_body_is_answered_soon(locked: Gateway) -> None:
    assert locked.context is not None
    started = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", locked.port), timeout=60) as plain,
        locked.context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 401"
    assert time.monotonic() - started < 20, "well before its body would be too late"


@pytest.mark.parametrize("path", ["/", "/web/page.js", "/healthz"])
def test_the_page_that_asks_for_the_token_and_the_probe_need_none(
    locked: Gateway, path: str
) -> None:
    assert locked.call("GET", path)[0] == 200


def test_plain_text_is_refused(locked: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", locked.port, timeout=60)
    connection.request("GET", "/healthz")
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()
    connection.close()


def test_a_client_that_never_shakes_hands_holds_up_nobody(locked: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", locked.port)):
        assert locked.call("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/v1/models/mnist", None),
        ("GET", "/v1/models/mnist/metadata", None),
        ("POST", "/v1/models/mnist/versions/7:predict", ZEROS),
        ("POST", "/v1/models/mnist:predict", b"no json"),
        ("POST", "/v1/models/mnist:predict?x=1", ZEROS),
        ("GET", "/v1/models/other%20name", None),
    ],
)
def test_rest_through_the_gateway_is_the_model_servers_own(
    gateway: Gateway,  # noqa: F811
    mnist: ModelServer,
    method: str,
    target: str,
    body: bytes | None,
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", mnist.rest_port, timeout=60)
    connection.request(method, target, body)
    direct = connection.getresponse()
    expected = (direct.status, direct.headers["content-type"], direct.read())
    connection.close()
    status, headers, answer = gateway.call(method, target, body)
    assert (status, headers["content-type"], answer) == expected


@pytest.mark.parametrize(
    ("flags", "text", "status"),
    [
        (["--tls_cert=/nowhere.pem", "--tls_key=/nowhere.key"], "No such file", 1),
        (["--tls_cert=/nowhere.pem"], "belong together", 2),
        (["--token_file=/nowhere"], "No such file", 1),
    ],
)
def test_a_lock_that_cannot_be_used_is_a_start_failure(
    flags: list[str], text: str, status: int
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "serving.gateway",
            f"--port={free_port()}",
            "--model_name=m",
            *flags,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium")
def test_the_page_asks_for_the_token_and_goes_on_with_it(locked: Gateway, tmp_path: Path) -> None:
    with chromium(tmp_path) as page:
        page.send("Security.setIgnoreCertificateErrors", ignore=True)
        page.open(f"https://127.0.0.1:{locked.port}/")
        page.wait_for("!document.getElementById('locked').hidden")
        page.wait_for("document.querySelector('header').innerText.includes('locked')")
        for token, outcome in (("wrong", "!locked.hidden"), (TOKEN, "locked.hidden")):
            page.evaluate(
                f"document.getElementById('token').value = '{token}';"
                "document.querySelector('#locked button').click()"
            )
            page.wait_for(outcome)
        page.wait_for("document.querySelector('.chip.good')")
