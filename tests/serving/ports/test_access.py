"""Certificates and the token on the model server's own ports, by gRPC's and Python's real TLS.

The certificates are made here; not covered is what makes them in a stack.
"""

from __future__ import annotations

import http.client
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from serving.authentication import REFUSAL, Token
from tests.certificates import Issued, issue
from tests.serving.conftest import predict_request, served
from tests.serving_fixtures import (
    ModelServer,
    failed_start,
    running_server,
)

TOKEN = "a-token-of-24-characters"


def write_ssl_config(file: Path, server: Issued, **more: object) -> Path:
    fields = {
        "server_key": server.pem.key.read_text(),
        "server_cert": server.pem.certificate.read_text(),
        **more,
    }
    lines = (f"{name}: {json.dumps(value)}" for name, value in fields.items())
    file.write_text("\n".join(lines))
    return file


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, front_end: str) -> Issued:
    return issue(tmp_path_factory.mktemp("pki"), "authority", None)


@pytest.fixture(scope="module")
def folder(authority: Issued) -> Path:
    return authority.pem.key.parent


@pytest.fixture(scope="module")
def server(models: Path, folder: Path, authority: Issued, front_end: str) -> Iterator[ModelServer]:
    """A server with a certificate on the gRPC port, a token on both, and a fixed list of models."""
    config = write_ssl_config(folder / "ssl.pbtxt", issue(folder, "server", authority, "127.0.0.1"))
    (folder / "token").write_text(f"{TOKEN}\n")
    flags = [f"--ssl_config_file={config}", f"--token_file={folder / 'token'}"]
    flags += ["--rest_api_enable_cors_support", "--enable_reload_requests=false"]
    base = served(models, folder / "m", "half_plus_two", 1)
    with running_server(base, "m", [*flags, "--rest_api_host=127.0.0.1"]) as running:
        yield running


def predict(channel: grpc.Channel, token: str | None = TOKEN) -> list[float]:
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    request = predict_request("m", x=np.array([2], np.float32))
    return list(stub.Predict(request, metadata=metadata, timeout=60).outputs["y"].float_val)


def secure(port: int, authority: Issued, client: Issued | None = None) -> grpc.Channel:
    key, chain = (client.pem.key, client.pem.certificate) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(
        authority.pem.certificate.read_bytes(),
        key.read_bytes() if key else None,
        chain.read_bytes() if chain else None,
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


def test_grpc_answers_over_tls_with_the_token(server: ModelServer, authority: Issued) -> None:
    with secure(server.grpc_port, authority) as channel:
        assert predict(channel) == [3]


def test_grpc_refuses_plain_text(server: ModelServer) -> None:
    with (
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        predict(channel)
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x", TOKEN[:-1]])
def test_grpc_refuses_a_wrong_token(
    server: ModelServer, authority: Issued, token: str | None
) -> None:
    with secure(server.grpc_port, authority) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            predict(channel, token)
        assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert raised.value.details() == REFUSAL
        # Not only the prediction service's methods.
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")(b"")
        assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_health_needs_no_token(server: ModelServer, authority: Issued) -> None:
    with secure(server.grpc_port, authority) as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=60) == b"\x08\x01"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"bearer {TOKEN}"}, 200),
        ({"X-Auth-Token": TOKEN}, 200),
        ({}, 401),
        ({"X-Auth-Token": "wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer \xff"}, 401),
    ],
)
def test_rest_asks_for_the_token(server: ModelServer, headers: dict[str, str], status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request("POST", "/v1/models/m:predict", b'{"instances": [2.0]}', headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == status
    assert answer == ({"predictions": [3.0]} if status == 200 else {"error": REFUSAL})


def test_a_browser_may_ask_whether_it_may_send_the_token(server: ModelServer) -> None:
    """It never sends the token with that question, and shows a page no answer without headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    connection.request("OPTIONS", "/v1/models/m:predict", headers=asked)
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert response.getheader("Access-Control-Allow-Origin") == "*"
    assert response.getheader("Access-Control-Allow-Methods") == "POST, GET"
    allowed = "Content-Type, Authorization, X-Auth-Token"
    assert response.getheader("Access-Control-Allow-Headers") == allowed
    connection.request("GET", "/v1/models/m", headers={"Origin": "https://app.example"})
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (401, {"error": REFUSAL})
    assert response.getheader("Access-Control-Allow-Origin") == "*"
    connection.close()


def test_a_connection_is_asked_for_the_token_with_each_request(server: ModelServer) -> None:
    """One that was let in once stays a stranger's."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    statuses = []
    for token in (TOKEN, TOKEN, "wrong", TOKEN, ""):
        headers = {"X-Auth-Token": token} if token else {}
        connection.request("POST", "/v1/models/m:predict", b'{"instances": [2.0]}', headers)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()
    assert statuses == [200, 200, 401, 200, 401]


def posted(
    server: ModelServer, announced: int, head: str, method: str = "POST", seconds: float = 60
) -> Iterator[bytes]:
    """Announce a body and send it as long as the server takes it; give what came, then the size.

    What comes before the body is waited for so many seconds.
    """
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=60) as connection:
        connection.sendall(
            f"{method} /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {announced}\r\n{head}\r\n".encode()
        )
        connection.settimeout(seconds)
        try:
            yield connection.recv(4096)
        except TimeoutError:
            yield b""
        connection.settimeout(20)
        sent = 0
        try:
            while sent < announced:
                sent += connection.send(b" " * 2**20)
        except OSError:
            pass
        yield str(sent).encode()


def test_a_body_without_the_token_is_not_even_asked_for(server: ModelServer) -> None:
    """A client that asks before it sends a large body was told to go on."""
    answer, *_ = posted(server, 10**9, "Expect: 100-continue\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=60) as connection:
        connection.sendall(
            "POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n"
            f"X-Auth-Token: {TOKEN}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_a_large_body_without_the_token_is_cut_off(server: ModelServer, method: str) -> None:
    """OPTIONS needs no token, and had as long a body as anybody liked."""
    before = resident(server)
    _, sent = posted(server, 2 * 10**9, "", method, seconds=1)
    assert int(sent) < 100e6
    assert resident(server) - before < 50e6


def test_large_messages_without_the_token_take_no_memory(
    server: ModelServer, authority: Issued
) -> None:
    before = resident(server)
    with secure(server.grpc_port, authority) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        calls = [predict.future(bytes(100_000_000), timeout=100) for _ in range(3)]
        assert {call.code() for call in calls} == {grpc.StatusCode.UNAUTHENTICATED}
        assert resident(server) - before < 50e6


def resident(server: ModelServer) -> int:
    """Return the bytes of memory that the server and its front end take."""
    server_pid = server.process.pid
    children = Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split()
    pages = (int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in (server_pid, *children))
    return sum(pages) * resource.getpagesize()


def test_a_fixed_list_of_models_is_not_replaced(server: ModelServer, authority: Issued) -> None:
    """An empty list would unload all."""
    with secure(server.grpc_port, authority) as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", metadata=[("authorization", f"Bearer {TOKEN}")], timeout=60)
        assert raised.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "--enable_reload_requests=false" in raised.value.details()
        assert predict(channel) == [3]


def test_client_verify_refuses_clients_without_a_certificate_of_custom_ca(
    models: Path, folder: Path, authority: Issued
) -> None:
    config = write_ssl_config(
        folder / "mutual.pbtxt",
        issue(folder, "mutual", authority, "127.0.0.1"),
        custom_ca=authority.pem.certificate.read_text(),
        client_verify=True,
    )
    base = served(models, folder / "m2", "half_plus_two", 1)
    with running_server(base, "m", [f"--ssl_config_file={config}"]) as server:
        with secure(server.grpc_port, authority, issue(folder, "client", authority)) as channel:
            assert predict(channel, token=None) == [3]
        stranger = issue(folder, "stranger", issue(folder, "elsewhere", None))
        late = issue(folder, "late", authority, expired=True)
        for client in (None, stranger, late):
            with (
                secure(server.grpc_port, authority, client) as channel,
                pytest.raises(grpc.RpcError) as raised,
            ):
                predict(channel, token=None)
            assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("flag", "content", "text"),
    [
        ("ssl_config_file", None, "No such file or directory"),
        ("ssl_config_file", "server_key: 5", "Invalid protobuf file: "),
        ("ssl_config_file", 'server_key: "x"', "has no PEM in server_key"),
        ("token_file", None, "No such file or directory"),
        ("token_file", " \n", "has no token"),
        ("token_file", "zwei Zeilen\nmit ü", "has no token"),
    ],
)
def test_what_cannot_be_used_is_a_start_failure(
    models: Path, tmp_path: Path, flag: str, content: str | None, text: str
) -> None:
    """Never a port that is open to all where the operator asked for a lock."""
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    done = failed_start(base, "m", [f"--{flag}={file}"])
    assert text in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_token_is_in_no_text_of_its_object() -> None:
    assert TOKEN not in repr(Token(TOKEN))


def test_ssl_config_has_the_form_of_tensorflow_serving() -> None:
    """Field names and numbers of config/ssl_config.proto."""
    from serving.ports.grpc.credentials import _SSLConfig

    message = text_format.Parse('server_key: "k" server_cert: "c" custom_ca: "a"', _SSLConfig())
    message.client_verify = True
    assert message.SerializeToString() == b"\x0a\x01k\x12\x01c\x1a\x01a\x20\x01"
