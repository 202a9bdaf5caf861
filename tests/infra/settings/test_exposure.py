"""The keys that say how the prediction service is exposed, and what is refused of them."""

import pulumi
import pytest

from infra.cluster.exposure import Gateway
from infra.settings import configuration
from tests.infra.conftest import Configure

TOKEN = {"tls": "true", "token": "0123456789abcdef"}
INGRESS = {"serviceType": "Ingress", "host": "models.example.com", **TOKEN}
GATEWAY = {
    "serviceType": "Gateway",
    "host": "models.example.com",
    "grpcHost": "grpc.example.com",
    "gateway": "edge/shared",
    **TOKEN,
}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"grpcNodePort": "31670", "serviceType": "ClusterIP"},
            "NodePort, not 'ClusterIP'. Or run 'pulumi config rm dlstack:grpc",
        ),
        ({"loadBalancerSourceRanges": "10.0.0.0/8"}, "needs serviceType LoadBalancer, not 'NodeP"),
        ({"ingressClass": "nginx"}, "'nginx' needs serviceType Ingress"),
        ({"gateway": "shared"}, "needs serviceType Gateway"),
        ({"grpcHost": "a.example.com"}, "needs serviceType Ingress or Gateway"),
        (
            {"serviceType": "LoadBalancer", "loadBalancerSourceRanges": "10.0.0.1/8"},
            r"has a network that is none \(10.0.0.1/8 has host bits set\). Write it like '192",
        ),
        ({"serviceAnnotations": '{"a": true}'}, "has 'a' with a value that is not a text"),
        ({**INGRESS, "host": ""}, "'Ingress' needs the DNS name that requests come for"),
        ({**INGRESS, "host": "192.0.2.1"}, "'192.0.2.1' is not a DNS name"),
        ({**INGRESS, "tls": "", "token": "", "tlsSecret": "a"}, "is set, but TLS is off"),
        ({**GATEWAY, "gateway": ""}, "needs the Gateway that takes the routes"),
        ({**GATEWAY, "gateway": "a b"}, "'a b' is not NAME, NAMESPACE/NAME or"),
        ({**GATEWAY, "grpcHost": ""}, "needs a DNS name for gRPC beside dlstack:host"),
        ({**GATEWAY, "grpcHost": "models.example.com"}, "needs a DNS name for gRPC beside"),
    ],
)
def test_what_means_nothing_is_refused(
    configure: Configure, values: dict[str, str], message: str
) -> None:
    configure(**values)
    with pytest.raises(pulumi.RunError, match=message):
        configuration.load()


@pytest.mark.parametrize("kind", ["LoadBalancer", "Ingress", "Gateway"])
def test_what_everybody_could_use_has_to_be_asked_for_by_name(
    configure: Configure, kind: str
) -> None:
    values = {"host": "models.example.com", "serviceType": kind}
    if kind == "Gateway":
        values |= {"grpcHost": "grpc.example.com", "gateway": "shared"}
    configure(**values)
    with pytest.raises(
        pulumi.RunError,
        match=f"'{kind}' opens .*dlstack:tls is not set: .* read what others ask.*insecure true",
    ):
        configuration.load()
    configure(**values, tls="true")
    with pytest.raises(pulumi.RunError, match=f"'{kind}' opens .*, but dlstack:token is not set"):
        configuration.load()
    configure(**values, insecure="true")
    assert not configuration.load().exposure.encrypts
    configure(**values, **TOKEN)
    assert configuration.load().exposure.encrypts == (kind != "LoadBalancer")


def test_a_balancer_of_tensorboard_has_to_be_asked_for_by_name(configure: Configure) -> None:
    configure(tensorboardServiceType="LoadBalancer", **TOKEN)
    with pytest.raises(pulumi.RunError, match="asks nobody for a password.*infra tensorboard'"):
        configuration.load()
    configure(tensorboardServiceType="LoadBalancer", insecure="true")
    assert configuration.load().tensorboard_service_type == "LoadBalancer"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shared", Gateway("shared")),
        ("edge/shared", Gateway("shared", "edge")),
        ("edge/shared/https", Gateway("shared", "edge", "https")),
    ],
)
def test_a_gateway_is_named_with_its_namespace_and_listener(
    configure: Configure, text: str, found: Gateway
) -> None:
    configure(**GATEWAY | {"gateway": text})
    assert configuration.load().exposure.gateway == found
