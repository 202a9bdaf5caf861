"""Who gets in at the prediction service's ports: TLS, its certificate, and a token."""

import re
from dataclasses import dataclass, field

import pulumi

from ..cluster.exposure import Exposure
from .reader import Reader


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """TLS, with a certificate of the user's or a generated one, and a token or none."""

    certificate: str
    """PEM, with its chain; empty: the stack makes one."""
    key: str = field(repr=False)
    """PEM; empty without a certificate."""
    token: str = field(repr=False)
    """Empty: none is asked for."""
    in_pods: bool = True
    """False: the Ingress or Gateway before the pods encrypts, and has the certificate."""

    @property
    def locks_pods(self) -> bool:
        """Whether pods ask for encryption or a token, and so answer REST at the page's port."""
        return self.in_pods or bool(self.token)


def read(reader: Reader, *, engine: str, exposure: Exposure) -> AccessSettings | None:
    """Return what is asked for at the ports; None: nothing, they are plain.

    Args:
        reader: of the configuration.
        engine, exposure: settings that access has to go with.
    """
    certificate = reader.text("tlsCertificate")
    key, token = reader.secret("tlsKey"), reader.secret("token")
    if not reader.flag("tls"):
        for name, value in (("tlsCertificate", certificate), ("tlsKey", key), ("token", token)):
            if value:
                raise pulumi.RunError(
                    f"dlstack:{name} is set, but TLS is off, so it would have no effect, or others "
                    "could read it on the way. Run 'pulumi config set dlstack:tls true', or remove "
                    "it."
                )
        return None
    _check_certificate(certificate, key)
    if certificate and (exposure.type == "Gateway" or exposure.tls_secret):
        other = "dlstack:tlsSecret" if exposure.tls_secret else "the Gateway's listener"
        raise pulumi.RunError(
            f"dlstack:tlsCertificate is set, but {other} has the certificate already. Remove "
            "dlstack:tlsCertificate and dlstack:tlsKey."
        )
    if not certificate and exposure.type == "LoadBalancer" and not exposure.host:
        raise pulumi.RunError(
            "A certificate has to name the load balancer's address, which is unknown until the "
            "balancer exists. Set dlstack:host to the DNS name that it will have, or set "
            "dlstack:tlsCertificate and dlstack:tlsKey."
        )
    if token and (len(token) < 16 or not token.isascii() or not re.fullmatch(r"\S+", token)):
        raise pulumi.RunError(
            "dlstack:token has fewer than 16 characters, or spaces, or characters that are not "
            "printable ASCII. Make one with 'openssl rand -hex 20'."
        )
    if token and engine == "tensorflow-serving":
        raise pulumi.RunError(
            "dlstack:token is set, but TensorFlow Serving can't check a token over gRPC. Set "
            "dlstack:servingEngine to embedded, or remove the token."
        )
    return AccessSettings(
        certificate=certificate, key=key, token=token, in_pods=not exposure.is_routed
    )


def _check_certificate(certificate: str, key: str) -> None:
    if bool(certificate) != bool(key):
        raise pulumi.RunError(
            "Only one of dlstack:tlsCertificate and dlstack:tlsKey is set. Set both, each as PEM, "
            "or none: without them the stack makes a certificate."
        )
    if not certificate:
        return
    try:
        matches = belong_together(certificate, key)
        problem = "" if matches else "the key belongs to another certificate"
    except ValueError as exc:
        problem = str(exc).splitlines()[0].rstrip(".")
    if problem:
        raise pulumi.RunError(
            f"dlstack:tlsCertificate and dlstack:tlsKey can't be used: {problem}. Set them to "
            "PEM texts: pulumi config set --secret dlstack:tlsKey < key.pem"
        )


def belong_together(certificate: str, key: str) -> bool:
    """Say whether `key` is the private key of `certificate`, both PEM.

    Raises:
        ValueError: one of them is not PEM, or the key has a pass phrase.
    """
    # 30 ms, which only stacks with a certificate need.
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except TypeError as exc:
        raise ValueError("the key has a pass phrase") from exc
    found = x509.load_pem_x509_certificate(certificate.encode())
    return found.public_key() == private.public_key()
