"""TLS and the token in the resource graph. Whether they work: tests/cluster."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pulumi.runtime import rpc

from infra.cluster import nodes
from infra.resources import certificate
from tests.infra.conftest import Engine, Up
from tests.infra.program.test_program import DEPLOYMENT, SERVICE, containers

TOKEN = "0123456789abcdef"
SECRET = "kubernetes:core/v1:Secret"
MADE = certificate.issue(["models.example.com"], datetime.now(UTC))


def files(secret: dict[str, Any]) -> dict[str, str]:
    """Return the Secret's content, which the engine is told to encrypt."""
    assert rpc.is_rpc_secret(secret["stringData"])
    return dict(rpc.unwrap_rpc_secret(secret["stringData"]))


def test_without_it_the_ports_are_plain(up: Up, engine: Engine) -> None:
    outputs = up()
    assert outputs["tls"] is False
    assert not {"caCertificate", "token"} & outputs.keys()
    assert outputs["restUrl"].startswith("http://")
    assert "ssl_config" not in json.dumps([r.inputs for r in engine.resources])


def test_it_is_on_every_port_of_the_prediction_service(up: Up, engine: Engine) -> None:
    outputs = up(tls="true", token=TOKEN)
    for url in ("restUrl", "pageUrl"):
        assert outputs[url].startswith("https://")
    assert (outputs["tls"], outputs["caCertificate"]) == (True, "CA")
    deployment = engine.the(DEPLOYMENT, "prediction-server")
    server, gateway = (containers(deployment)[name] for name in ("server", "gateway"))
    for flag in ("--ssl_config_file=", "--token_file=", "--rest_api_host=127.0.0.1"):
        assert any(word.startswith(flag) for word in server["command"])
    for flag in ("--tls_cert=", "--tls_key=", "--token_file="):
        assert any(word.startswith(flag) for word in gateway["command"])
    assert gateway["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    # Kubernetes' probe of gRPC speaks no TLS.
    assert "grpc" not in server["readinessProbe"]
    ports = {p["name"]: p for p in engine.the(SERVICE, "prediction-service")["spec"]["ports"]}
    assert ports["rest"]["targetPort"] == "page"
    assert {name: port.get("appProtocol") for name, port in ports.items()} == {
        "grpc": None,
        "rest": "https",
        "page": "https",
    }


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_tensorboard_has_no_lock_and_stays_in_the_cluster_unless_its_own_key_opens_it(
    up: Up, engine: Engine, kind: str
) -> None:
    outputs = up(host="models.example.com", serviceType=kind, insecure="true")
    assert engine.the(SERVICE, "tensorboard-service")["spec"]["type"] == "ClusterIP"
    assert outputs["tensorboardUrl"] == "http://tensorboard.dlstack-dev.svc:6006"
    # A browser reaches nothing there: the page has no link to it.
    page = containers(engine.the(DEPLOYMENT, "prediction-server"))["gateway"]
    assert "--tensorboard_url=" in page["command"]
    outputs = up(
        host="models.example.com",
        serviceType=kind,
        insecure="true",
        tensorboardServiceType="NodePort",
    )
    # `host` is the address of a balancer, behind which it is not.
    node = "models.example.com" if kind == "NodePort" else "10.0.0.3"
    assert outputs["tensorboardUrl"] == f"http://{node}:30006"
    page = containers(engine.the(DEPLOYMENT, "prediction-server"))["gateway"]
    assert f"--tensorboard_url=http://{node}:30006" in page["command"]


def test_secrets_are_in_the_secret_and_nowhere_else(up: Up, engine: Engine) -> None:
    up(tls="true", token=TOKEN, tlsCertificate=MADE["certificate"], tlsKey=MADE["key"])
    found = engine.the(SECRET, "access-files")
    assert files(found)["token"] == TOKEN
    assert files(found)["tls.key"] == MADE["key"]
    # Another content is another Secret: pods roll.
    assert "name" not in found["metadata"]
    others = json.dumps([r.inputs for r in engine.resources if r.name != "access-files"])
    for secret in (TOKEN, json.dumps(MADE["key"])[1:-1]):
        assert secret not in others


def test_a_certificate_of_ones_own_is_used_and_none_is_made(up: Up, engine: Engine) -> None:
    outputs = up(tls="true", tlsCertificate=MADE["certificate"], tlsKey=MADE["key"])
    assert not [t for t in engine.types() if t.endswith(":GeneratedCertificate")]
    assert "caCertificate" not in outputs
    assert files(engine.the(SECRET, "access-files"))["tls.crt"] == MADE["certificate"]


def test_a_certificate_names_no_node_where_none_is_known(
    up: Up, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom otherwise: whoever may list no nodes got a traceback about an empty name."""
    monkeypatch.setattr(nodes, "listed", lambda _: None)
    up(tls="true", serviceType="ClusterIP")
    (made,) = [one for one in engine.resources if one.type.endswith(":GeneratedCertificate")]
    assert made.inputs["hosts"][0] == "localhost" and "" not in made.inputs["hosts"]


def test_tensorflow_serving_gets_the_certificate_too(up: Up, engine: Engine) -> None:
    up(tls="true", servingEngine="tensorflow-serving")
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert "--ssl_config_file=/etc/dlstack/access/ssl.pbtxt" in server["command"]
    # Its own flags only.
    assert not [word for word in server["command"] if "rest_api_host" in word or "token" in word]
