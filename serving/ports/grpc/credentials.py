"""Certificates on the gRPC port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ... import text_protos
from ...errors import InvalidArgument

if TYPE_CHECKING:
    import grpc

_SSLConfig = text_protos.message_type(
    "SSLConfig",
    {
        "server_key": (1, str),
        "server_cert": (2, str),
        "custom_ca": (3, str),
        "client_verify": (4, bool),
    },
)
"""`config/ssl_config.proto` of TensorFlow Serving."""


@dataclass(frozen=True, repr=False)
class Certificates:
    """What the gRPC port shows, and by what it knows its clients; all in PEM."""

    key: str
    certificate: str
    client_ca: str
    verify_clients: bool

    def credentials(self) -> grpc.ServerCredentials:
        """Return them for gRPC's own server."""
        import grpc  # The native front end does without it.

        return grpc.ssl_server_credentials(
            [(self.key.encode(), self.certificate.encode())],
            self.client_ca.encode() or None,
            require_client_auth=self.verify_clients,
        )


def read(ssl_config_file: str) -> Certificates | None:
    """Return what `--ssl_config_file` asks for; None without one: the port is plain then.

    Raises:
        ServingError: the file, or what is in it, can't be used.
    """
    if not ssl_config_file:
        return None
    config = text_protos.read(ssl_config_file, _SSLConfig())
    for field in ("server_key", "server_cert"):
        if "-----BEGIN " not in getattr(config, field):
            raise InvalidArgument(f"--ssl_config_file={ssl_config_file} has no PEM in {field}.")
    if config.client_verify and not config.custom_ca:
        raise InvalidArgument(
            f"--ssl_config_file={ssl_config_file} has client_verify, but no custom_ca to verify "
            "clients by."
        )
    return Certificates(
        config.server_key, config.server_cert, config.custom_ca, config.client_verify
    )
