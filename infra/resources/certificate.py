"""A certificate authority and the server certificate it signs, made once and kept in the state.

Its path is part of existing stacks' state. The keys are secrets there; the authority stays the same
when the server's certificate is made anew, so that clients need not learn another one.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from .provider import Provider, changed, inputs_of

AUTHORITY_DAYS = 3650
SERVER_DAYS = 825
"""The longest that all clients accept: https://support.apple.com/HT210176."""
RENEW_DAYS = 275
"""An `up` in the last third makes a new one."""


def issue(
    hosts: Sequence[str], now: datetime, authority: str = "", authority_key: str = ""
) -> dict[str, str]:
    """Return a server certificate for `hosts`, and the authority that signed it.

    Args:
        hosts: DNS names and IP addresses; the first names the certificate.
        now: when it begins to be valid.
        authority, authority_key: PEM, of the one to sign it with; empty: make one.

    Returns:
        `authority`, `authority_key`, `certificate`, `key`: PEM; `renew`: RFC 3339 time.
    """
    # 30 ms, which only stacks with TLS need.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        # The standard allows 64 characters; clients look at the alternative names alone.
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])

    def signed(
        subject: x509.Name,
        issuer: x509.Name,
        public_key: ec.EllipticCurvePublicKey,
        signer: ec.EllipticCurvePrivateKey,
        days: int,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            # Clocks differ.
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    if authority:
        signer = serialization.load_pem_private_key(authority_key.encode(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        issuer = x509.load_pem_x509_certificate(authority.encode()).subject
    else:
        signer = ec.generate_private_key(ec.SECP256R1())
        issuer = name("dlstack authority")
        basic = x509.BasicConstraints(ca=True, path_length=0)
        made = signed(issuer, issuer, signer.public_key(), signer, AUTHORITY_DAYS, [(basic, True)])
        authority = made.public_bytes(serialization.Encoding.PEM).decode()
        authority_key = key_pem(signer)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = signed(
        name(hosts[0]),
        issuer,
        key.public_key(),
        signer,
        SERVER_DAYS,
        [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.SubjectAlternativeName([_general_name(host) for host in hosts]), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ],
    )
    return {
        "authority": authority,
        "authority_key": authority_key,
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "key": key_pem(key),
        "renew": (now + timedelta(days=SERVER_DAYS - RENEW_DAYS)).isoformat(timespec="seconds"),
    }


def _general_name(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class _CertificateProvider(Provider):
    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        due = datetime.now(UTC) >= datetime.fromisoformat(olds["renew"])
        return DiffResult(changes=due or bool(changed(olds, news, "hosts")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        made = issue(props["hosts"], datetime.now(UTC))
        return CreateResult(props["hosts"][0], {"hosts": props["hosts"], **made})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        made = issue(news["hosts"], datetime.now(UTC), olds["authority"], olds["authority_key"])
        return UpdateResult({"hosts": news["hosts"], **made})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing outside the state has them."""


class GeneratedCertificate(Resource, module="certificate", name="GeneratedCertificate"):
    """A server certificate and its authority, as PEM texts; the keys are secrets of the state."""

    authority: pulumi.Output[str]
    certificate: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self, name: str, *, hosts: Sequence[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        outputs = ("authority", "authority_key", "certificate", "key", "renew")
        super().__init__(
            _CertificateProvider(),
            name,
            {"hosts": list(hosts), **dict.fromkeys(outputs)},
            pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(additional_secret_outputs=["authority_key", "key"]), opts
            ),
        )
