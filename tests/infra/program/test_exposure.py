"""Ingress and Gateway in the resource graph: what leads where, who encrypts, what is told."""

from typing import Any

import pulumi
import pytest

from infra.cluster import addresses, description
from tests.infra.conftest import Engine, FakeCluster, Up
from tests.infra.program.test_access import MADE
from tests.infra.program.test_program import DEPLOYMENT, SERVICE, containers
from tests.infra.settings.test_exposure import GATEWAY, INGRESS

KIND = "kubernetes:networking.k8s.io/v1:Ingress"
API = "gateway.networking.k8s.io/v1"
SECRET = "kubernetes:core/v1:Secret"


def rules(ingress: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [
        (rule["host"], path["path"], path["backend"]["service"]["port"]["number"])
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]


def flags(engine: Engine, name: str) -> list[str]:
    return list(containers(engine.the(DEPLOYMENT, "prediction-server"))[name]["command"])


def test_an_ingress_leads_to_the_page_and_by_its_paths_to_grpc(up: Up, engine: Engine) -> None:
    outputs = up(**INGRESS, ingressClass="nginx", ingressAnnotations='{"example.com/a": "b"}')
    http, grpc = (engine.the(KIND, f"prediction-{role}-ingress") for role in ("http", "grpc"))
    assert rules(http) == [("models.example.com", "/", 8080)]
    assert ("models.example.com", "/tensorflow.serving.PredictionService", 8500) in rules(grpc)
    assert {port for _, _, port in rules(grpc)} == {8500}
    for one in (http, grpc):
        assert one["spec"]["ingressClassName"] == "nginx"
        assert one["spec"]["tls"] == [{"hosts": ["models.example.com"]}]
        assert one["metadata"]["annotations"]["example.com/a"] == "b"
    service = engine.the(SERVICE, "prediction-service")["spec"]
    assert service["type"] == "ClusterIP"
    protocols = {port["name"]: port.get("appProtocol") for port in service["ports"]}
    assert protocols == {"grpc": "kubernetes.io/h2c", "rest": None, "page": None}
    assert outputs["host"] == "models.example.com"
    assert outputs["grpcPort"] == 443
    assert outputs["restUrl"] == outputs["pageUrl"] == "https://models.example.com"
    assert outputs["tls"] is True
    assert "caCertificate" not in outputs


def test_grpc_may_have_a_name_of_its_own(up: Up, engine: Engine) -> None:
    outputs = up(**INGRESS, grpcHost="grpc.example.com", tlsSecret="models-tls")
    grpc = engine.the(KIND, "prediction-grpc-ingress")
    assert rules(grpc) == [("grpc.example.com", "/", 8500)]
    assert grpc["spec"]["tls"] == [{"hosts": ["grpc.example.com"], "secretName": "models-tls"}]
    assert outputs["host"] == "grpc.example.com"
    assert outputs["restUrl"] == "https://models.example.com"


def test_behind_an_ingress_pods_ask_for_the_token_and_encrypt_nothing(
    up: Up, engine: Engine
) -> None:
    up(**INGRESS)
    for name in ("server", "gateway"):
        command = flags(engine, name)
        assert any(flag.startswith("--token_file=") for flag in command)
        assert not any(flag.startswith(("--tls", "--ssl")) for flag in command)
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert server["readinessProbe"]["grpc"] == {"port": 8500}
    (files,) = [r for r in engine.created(SECRET) if r.name == "access-files"]
    assert set(files.inputs["stringData"]["value"]) == {"token"} or "token" in str(files.inputs)
    # Nothing to ask for, nothing to mount.
    up(**INGRESS | {"token": "", "insecure": "true"})
    assert not [r for r in engine.created(SECRET) if r.name.startswith("access")]
    assert not any("token" in flag for flag in flags(engine, "server"))


def test_a_certificate_of_yours_is_the_ingress_s(up: Up, engine: Engine) -> None:
    up(**INGRESS, tlsCertificate=MADE["certificate"], tlsKey=MADE["key"])
    edge = engine.the(SECRET, "access-edge")
    assert edge["type"] == "kubernetes.io/tls"
    (tls,) = engine.the(KIND, "prediction-http-ingress")["spec"]["tls"]
    assert tls["secretName"] == "access-edge-id"


def test_a_gateway_gets_a_route_for_http_and_one_for_grpc(
    up: Up, engine: Engine, fake_cluster: FakeCluster
) -> None:
    with pytest.raises(pulumi.RunError, match=f"the cluster does not know '{API}'. Have the Gate"):
        up(**GATEWAY)
    fake_cluster.answers[f"/apis/{API}"] = {"kind": "APIResourceList"}
    outputs = up(**GATEWAY | {"gateway": "edge/shared/https"})
    parent = {"name": "shared", "namespace": "edge", "sectionName": "https"}
    for kind, role, host, port in (
        ("HTTPRoute", "http", "models.example.com", 8080),
        ("GRPCRoute", "grpc", "grpc.example.com", 8500),
    ):
        route = engine.the(f"kubernetes:{API}:{kind}", f"prediction-{role}-route")
        assert route["spec"] == {
            "parentRefs": [parent],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": "prediction", "port": port}]}],
        }
    assert (outputs["host"], outputs["grpcPort"]) == ("grpc.example.com", 443)
    assert outputs["restUrl"] == "https://models.example.com"


def test_a_balancer_is_as_the_keys_say(up: Up, engine: Engine) -> None:
    up(
        serviceType="LoadBalancer",
        insecure="true",
        serviceAnnotations='{"example.com/internal": "true"}',
        loadBalancerSourceRanges="192.0.2.0/24 10.0.0.0/8",
    )
    service = engine.the(SERVICE, "prediction-service")
    assert service["metadata"]["annotations"]["example.com/internal"] == "true"
    assert service["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24", "10.0.0.0/8"]
    others = [r for r in engine.created(SERVICE) if r.name != "prediction-service"]
    assert not any("example.com/internal" in r.inputs["metadata"]["annotations"] for r in others)


@pytest.mark.parametrize(
    "values",
    [
        {"serviceType": "NodePort", "host": "2001:db8::1"},
        {"serviceType": "LoadBalancer", "host": "models.example.com", "insecure": "true"},
        {"serviceType": "LoadBalancer", "insecure": "true"},
        {"serviceType": "ClusterIP", "host": "models.example.com"},
        INGRESS,
        GATEWAY,
    ],
    ids=["node port", "balancer with a name", "balancer", "cluster", "ingress", "gateway"],
)
def test_status_shows_the_addresses_of_the_outputs(
    up: Up, engine: Engine, fake_cluster: FakeCluster, values: dict[str, str]
) -> None:
    """Symptom: a balancer's IP in place of the name that its certificate is for."""
    fake_cluster.answers[f"/apis/{API}"] = {"kind": "APIResourceList"}
    outputs = up(**values)
    told = description.read(engine.the("kubernetes:core/v1:ConfigMap", "description")["data"])
    service = engine.the(SERVICE, "prediction-service")
    for port in service["spec"]["ports"]:
        # The engine has numbers as JSON has them.
        port["port"] = int(port["port"])
        port["nodePort"] = 30000 + port["port"] % 2000
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
    shown = addresses.of_services([service], told.host, told.public_host, told.routes)
    host = str(outputs["host"])
    grpc = f"{f'[{host}]' if ':' in host else host}:{outputs['grpcPort']}"
    assert shown == {"grpc": grpc, "rest": outputs["restUrl"], "page": outputs["pageUrl"]}
