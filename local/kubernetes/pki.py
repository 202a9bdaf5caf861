"""The cluster's own certificate authority, and the kubeconfig files of the API server's clients.

Names and organisations are the ones Kubernetes' built-in RBAC rules bind to
(https://kubernetes.io/docs/setup/best-practices/certificates/).
"""

import base64
import datetime
import ipaddress
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..console import LocalError
from ..home import write_private

VALID_DAYS = 3650


def _is_whole(path: Path) -> bool:
    """Whether a PEM file has its end; a power cut may have left less."""
    try:
        return path.read_bytes().rstrip().endswith(b"-----")
    except FileNotFoundError:
        return False


def _name(common_name: str, organisation: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # Kubernetes reads service account keys of elliptic curves in this form only.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Authority:
    """A certificate authority in `folder`: `ca.crt`, `ca.key` and whatever it issued."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    def encoded_certificate(self) -> str:
        """Its certificate as the API takes it: PEM in base64."""
        return base64.b64encode(self.certificate.read_bytes()).decode()

    def create(self) -> None:
        """Make the authority, and the key for service account tokens, unless they are there.

        Raises:
            LocalError: they are there and damaged: what they have issued is no use any more.
        """
        made = [self.folder / name for name in ("service-account.key", "ca.key", "ca.crt")]
        if self.certificate.exists():
            if torn := [path.name for path in made if not _is_whole(path)]:
                raise LocalError(
                    f"{' and '.join(torn)} in {self.folder} are damaged, as after a power cut in "
                    "the middle of a write.",
                    "Have all keys made anew, which costs no data: "
                    f"`make stop && rm -r {shlex.quote(str(self.folder))} && make up`.",
                )
            return
        write_private(
            self.folder / "service-account.key", _pem(ec.generate_private_key(ec.SECP256R1()))
        )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._unsigned(_name("dlstack"), _name("dlstack"), key, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(self.folder / "ca.key", _pem(key))
        write_private(self.certificate, certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        file: str,
        common_name: str,
        organisation: str | None = None,
        addresses: Sequence[str] = (),
    ) -> tuple[Path, Path]:
        """Issue a certificate and its key unless they are there; return their paths.

        Args:
            addresses: IP addresses and DNS names, for a certificate that also serves.
        """
        certificate_path, key_path = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        if _is_whole(certificate_path) and _is_whole(key_path):
            return certificate_path, key_path
        authority_key = serialization.load_pem_private_key(
            (self.folder / "ca.key").read_bytes(), None
        )
        assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._unsigned(
            _name(common_name, organisation), _name("dlstack"), key, authority_key
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        if addresses:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names: list[x509.GeneralName] = []
            for address in addresses:
                try:
                    names.append(x509.IPAddress(ipaddress.ip_address(address)))
                except ValueError:
                    names.append(x509.DNSName(address))
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).sign(
            authority_key, hashes.SHA256()
        )
        write_private(key_path, _pem(key))
        write_private(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
        return certificate_path, key_path

    def kubeconfig(
        self,
        file: str,
        user: str,
        organisation: str | None,
        server: str,
        seen_at: Path | None = None,
    ) -> Path:
        """A kubeconfig (JSON, which is YAML) for `user` at the API server's URL `server`.

        Args:
            seen_at: this folder, as the programs see it that are to use the kubeconfig.
        """
        folder = seen_at or self.folder
        certificate, key = (folder / path.name for path in self.issue(file, user, organisation))
        path = self.folder / f"{file}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "dlstack",
            "contexts": [{"name": "dlstack", "context": {"cluster": "dlstack", "user": user}}],
            "clusters": [
                {
                    "name": "dlstack",
                    "cluster": {"server": server, "certificate-authority": str(folder / "ca.crt")},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate": str(certificate), "client-key": str(key)},
                }
            ],
        }
        write_private(path, json.dumps(content, indent=1).encode())
        return path

    @staticmethod
    def _unsigned(
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
    ) -> x509.CertificateBuilder:
        """A certificate with what RFC 5280 asks for: Python 3.13 and newer take no other."""
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(by, critical=False)
        )
