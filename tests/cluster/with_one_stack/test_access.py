"""A stack with TLS and a token, on a real cluster: who has both is answered, nobody else is.

Then with batching, too.

The tests build on each other. Not covered: the official TensorFlow Serving image.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from client import Client, PredictionError, ServerError, Tls
from local.home import REPOSITORY
from local.stack import held_out
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

TOKEN = "a-token-of-32-characters-for-test"


@pytest.fixture(scope="module")
def digit(deployment, tmp_path_factory):
    """A held-out digit as a file, and what it shows."""
    images, truths = held_out.pictures(deployment.data_dir, 1)
    file = tmp_path_factory.mktemp("digit") / "digit.png"
    images[0].save(file)
    return file, truths[0]


def secure_client(outputs, token, transport="grpc"):
    port = int(outputs["grpcPort"] if transport == "grpc" else outputs["restUrl"].split(":")[-1])
    return Client(
        outputs["host"],
        outputs["modelName"],
        port=port,
        transport=transport,
        tls=Tls(ca=outputs["caCertificate"]),
        token=token,
        timeout=60,  # A busy machine takes its time, and loses nothing.
    )


def test_a_plain_stack_is_made_secure_and_the_client_goes_on(deployment, digit):
    deployment.configure("modelName=access", "runParameters.model=softmax")
    assert deployment.up().returncode == 0
    file, truth = digit
    assert deployment.predict(file)[0]["prediction"] == truth
    deployment.configure("tls=true")
    words = ("config", "set", "--secret", "dlstack:token", TOKEN)
    assert deployment.pulumi(*words).returncode == 0
    assert deployment.up().returncode == 0
    for transport in ("grpc", "rest"):
        answered = deployment.predict(f"--transport={transport}", file)
        assert answered[0]["prediction"] == truth


def test_no_training_was_needed_for_it_and_nothing_changes_the_next_time(deployment):
    assert deployment.outputs()["modelVersion"] == 1
    assert deployment.pulumi("preview", "--expect-no-changes").returncode == 0


def test_no_secret_is_in_the_state_whoever_wrote_to_the_cluster(deployment):
    """A refresh put the keys into it that `kubectl apply` leaves in an annotation."""
    secrets = deployment.items("secrets")
    needles = private_lines(kubeconfig(deployment))
    for secret in secrets:
        for name, encoded in secret["data"].items():
            if name != "AWS_ACCESS_KEY_ID":
                needles += [encoded, *private_lines(b64decode(encoded).decode())]
    assert TOKEN in needles and len(needles) >= 8

    def found() -> list[str]:
        state = deployment.pulumi("stack", "export").stdout
        return [needle for needle in needles if needle in state]

    assert found() == []
    for secret in secrets:
        name = secret["metadata"]["name"]
        applied = json.dumps({"kind": "Secret", "data": secret["data"]})
        note = f"kubectl.kubernetes.io/last-applied-configuration={applied}"
        assert deployment.kubectl("annotate", "secret", name, note).returncode == 0
    assert deployment.pulumi("refresh", "--yes", "--skip-preview").returncode == 0
    assert found() == []
    assert deployment.pulumi("up", "--refresh", "--yes", "--skip-preview").returncode == 0
    assert found() == []


def private_lines(text: str) -> list[str]:
    """The longest line of a secret: it looks the same in whatever form the state has it."""
    return [] if "BEGIN CERTIFICATE" in text else [max(text.splitlines(), key=len)]


def kubeconfig(deployment) -> str:
    """The private key or the token by which the stack's provider reaches the cluster."""
    words = ("config", "view", "--raw", "--flatten", "--minify", "--output")
    user = "{.users[0].user.client-key-data}{.users[0].user.token}"
    return deployment.kubectl(*words, f"jsonpath={user}").stdout


@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("token", [None, "a-token-of-32-characters-but-wrong"])
def test_without_the_token_nobody_is_answered(deployment, transport, token):
    with (
        secure_client(deployment.outputs(), token, transport) as client,
        pytest.raises(ServerError) as raised,
    ):
        client.status()
    assert raised.value.code == "UNAUTHENTICATED"


def test_plain_text_is_refused_on_every_port(deployment):
    outputs = deployment.outputs()
    with grpc.insecure_channel(f"{outputs['host']}:{outputs['grpcPort']}") as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=60)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    for name in ("restUrl", "pageUrl"):
        url = str(outputs[name])
        assert url.startswith("https://")
        with pytest.raises((urllib.error.URLError, OSError)):
            urllib.request.urlopen(url.replace("https:", "http:"), timeout=60)


def test_no_secret_of_it_is_in_the_state_or_a_pod_in_plain_text(deployment):
    state = deployment.pulumi("stack", "export").stdout
    pods = deployment.kubectl("get", "pods", "--output=json").stdout
    assert "prediction" in pods
    for text in (state, pods):
        assert TOKEN not in text
        assert "PRIVATE KEY" not in text


def test_another_token_is_a_roll_out_and_the_old_one_is_no_longer_taken(deployment):
    other = f"{TOKEN}-2"
    words = ("config", "set", "--secret", "dlstack:token", other)
    assert deployment.pulumi(*words).returncode == 0
    assert deployment.up().returncode == 0
    outputs = deployment.outputs()

    def answered(token: str) -> list[str]:
        """The states of the model's versions, or the code of a refusal."""
        with secure_client(outputs, token) as client:
            try:
                return [version.state for version in client.status().versions]
            except PredictionError as error:
                return [error.code if isinstance(error, ServerError) else str(error)]

    # A new connection may lead to the pod of before until the node has heard of its end.
    eventually(lambda: answered(other) == ["AVAILABLE"])
    eventually(lambda: answered(TOKEN) == ["UNAUTHENTICATED"])


def status(deployment):
    done = subprocess.run(
        [sys.executable, "-m", "infra", "status", "--json", "--stack", deployment.name],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_status_shows_the_secure_addresses(deployment):
    assert status(deployment)["addresses"]["page"] == deployment.outputs()["pageUrl"]


def test_a_load_balancer_answers_under_the_name_that_it_will_have(deployment):
    """Symptom: the object store was looked for under that name, to which nothing leads yet."""
    name = "models.example.com"
    deployment.configure("serviceType=LoadBalancer", f"host={name}")
    assert deployment.up().returncode == 0
    outputs = deployment.outputs()
    assert (outputs["host"], outputs["restUrl"]) == (name, f"https://{name}:8501")
    where = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    address = deployment.kubectl("get", "service", "prediction", f"--output={where}").stdout
    context = ssl.create_default_context(cadata=str(outputs["caCertificate"]))
    head = f"GET /v1/models/{outputs['modelName']} HTTP/1.1\r\nHost: {name}\r\n"

    def answer() -> bytes:
        try:
            with (
                socket.create_connection((address, 8501), 10) as plain,
                context.wrap_socket(plain, server_hostname=name) as connection,
                connection.makefile("rb") as lines,
            ):
                connection.sendall(f"{head}Authorization: Bearer {TOKEN}-2\r\n\r\n".encode())
                return lines.readline()
        except OSError:
            return b""  # The node has not heard of the address yet.

    assert eventually(answer) == b"HTTP/1.1 200 OK\r\n"
    # Whoever deploys reaches the store and the board as before.
    assert status(deployment)["versions"]
    deployment.configure("serviceType=NodePort", "host=127.0.0.1")


def test_batching_is_turned_on_by_the_configuration(deployment, digit):
    deployment.configure("servingBatching=true")
    assert deployment.up().returncode == 0
    commands = deployment.kubectl(
        *("get", "pods", "--output"),
        "jsonpath={.items[*].spec.containers[?(@.name=='server')].command}",
    ).stdout
    assert "--enable_batching=true" in commands
    file, truth = digit
    # Many at the same time, each with digits of its own.
    images, truths = held_out.pictures(deployment.data_dir, 16)
    pixels = np.stack([np.asarray(image, np.float32).ravel() / 255 for image in images])
    outputs = deployment.outputs()
    for transport in ("grpc", "rest"):
        with (
            secure_client(outputs, f"{TOKEN}-2", transport) as client,
            ThreadPoolExecutor(8) as pool,
        ):
            expected = client.predict(pixels).outputs["predictions"].tolist()
            assert sum(a == t for a, t in zip(expected, truths, strict=True)) >= 12

            def ask(row: int, client=client) -> list[int]:
                asked = np.roll(pixels, -row, axis=0)[:3]
                return client.predict(asked).outputs["predictions"].tolist()

            rows = [row % 16 for row in range(200)]
            answers = list(pool.map(ask, rows))
            assert answers == [(expected + expected)[row : row + 3] for row in rows]
        found = deployment.predict(f"--transport={transport}", *[file] * 20)
        assert [one["prediction"] for one in found] == [truth] * 20
