"""Who gets in, as it is configured: which certificates, keys and tokens are refused."""

from datetime import UTC, datetime

import pulumi
import pytest

from infra.resources import certificate
from infra.settings import configuration
from infra.settings.access import belong_together
from tests.infra.conftest import Configure

TOKEN = "0123456789abcdef"
MADE = certificate.issue(["models.example.com"], datetime.now(UTC))
HOST = {"host": "models.example.com"}
PAIR = {"tls": "true", "tlsCertificate": MADE["certificate"], "tlsKey": MADE["key"]}


def test_a_key_belongs_to_its_certificate_only() -> None:
    made, other = (certificate.issue(["localhost"], datetime.now(UTC)) for _ in range(2))
    assert belong_together(made["certificate"], made["key"])
    assert not belong_together(made["certificate"], other["key"])
    with pytest.raises(ValueError):
        belong_together("no PEM", made["key"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"token": TOKEN}, r"dlstack:token is set, but TLS is off"),
        ({"tlsKey": "x"}, r"dlstack:tlsKey is set, but TLS is off"),
        ({"tls": "true", "token": "short"}, r"dlstack:token has fewer than 16 characters"),
        (
            {"tls": "true", "token": "x" * 20 + " y"},
            r"or spaces, or characters that are not printable ASCII",
        ),
        (
            {"tls": "true", "tlsKey": MADE["key"]},
            r"^Only one of dlstack:tlsCertificate and dlstack:tlsKey is set\. Set both",
        ),
        (
            {"tls": "true", "tlsKey": MADE["authority_key"], "tlsCertificate": MADE["certificate"]},
            r"can't be used: the key belongs to another certificate",
        ),
        ({"tls": "true", "tlsKey": "x", "tlsCertificate": "y"}, r"can't be used: .*PEM"),
        ({"tls": "true", "serviceType": "LoadBalancer"}, r"Set dlstack:host to the DNS name"),
        (
            {**PAIR, **HOST, "serviceType": "Gateway", "grpcHost": "a.example.com", "gateway": "a"},
            r"tlsCertificate is set, but the Gateway's listener has the certificate already",
        ),
        (
            {**PAIR, **HOST, "serviceType": "Ingress", "tlsSecret": "models-tls"},
            r"tlsCertificate is set, but dlstack:tlsSecret has the certificate already",
        ),
        (
            {"tls": "true", "token": TOKEN, "servingEngine": "tensorflow-serving"},
            r"TensorFlow Serving can't check a token over gRPC",
        ),
    ],
)
def test_what_would_not_work_is_refused_without_quoting_secrets(
    configure: Configure, values: dict[str, str], message: str
) -> None:
    configure(**values)
    with pytest.raises(pulumi.RunError, match=message) as raised:
        configuration.load()
    for name in ("token", "tlsKey"):
        assert len(values.get(name, "")) < 5 or values[name] not in str(raised.value)
