"""Encryption and credentials of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError

if TYPE_CHECKING:
    import ssl


def is_pem(text: str | Path | None) -> bool:
    """Whether this is the content of a PEM file and not its path."""
    return isinstance(text, str) and "-----BEGIN " in text


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted; paths of PEM files.

    The server's certificate is always checked, against its host name or address.
    """

    ca: str | Path | None = None
    """Authorities that may have signed the server's certificate, as a path or as the PEM text
    itself; absent, those of the system for REST and those that gRPC brings along for gRPC."""
    client_cert: str | Path | None = None
    """This client's certificate and its chain, for servers that ask for one."""
    client_key: str | Path | None = None
    """Its private key, without a pass phrase."""

    def context(self) -> ssl.SSLContext:
        """Return the settings for Python's own TLS.

        Raises:
            SettingsError: a file cannot be read, or only one of certificate and key is given.
        """
        import ssl  # 17 ms, only for who needs it.

        self._check()
        try:
            context = (
                ssl.create_default_context(cadata=str(self.ca))
                if is_pem(self.ca)
                else ssl.create_default_context(cafile=self.ca)
            )
            if self.client_cert and self.client_key:
                # The empty pass phrase: Python would ask for one at the terminal.
                context.load_cert_chain(self.client_cert, self.client_key, password="")
        except OSError as exc:  # ssl.SSLError is one.
            raise SettingsError(
                f"The TLS files do not fit ({exc.strerror or exc}). "
                "Give PEM files, and a key that belongs to the certificate."
            ) from exc
        return context

    def grpc_credentials(self) -> Any:
        """Return the same settings for gRPC.

        Raises:
            SettingsError: as `context`.
        """
        import grpc

        self.context()  # gRPC itself says nothing of files that make no sense.
        contents = (
            (str(file).encode() if is_pem(file) else Path(file).read_bytes()) if file else None
            for file in (self.ca, self.client_key, self.client_cert)
        )
        return grpc.ssl_channel_credentials(*contents)

    def _check(self) -> None:
        if bool(self.client_cert) != bool(self.client_key):
            raise SettingsError(
                "Only one of the client's certificate and its key is given. Give both, or none."
            )
        for path in (self.ca, self.client_cert, self.client_key):
            if path and not is_pem(path) and not Path(path).is_file():
                raise SettingsError(f"There is no TLS file {str(path)!r}. Check the path.")


@dataclass(frozen=True, slots=True)
class Security:
    """What each transport needs to be let in."""

    tls: Tls | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is None:
            return
        # It goes into a header, where a line break would end it.
        if not self.token or not self.token.isascii() or not self.token.isprintable():
            raise SettingsError("The token is empty or has odd characters. Give printable ASCII.")
        if self.tls is None:
            raise SettingsError(
                "Without TLS everybody on the way could read the token. Use TLS with it."
            )

    def __repr__(self) -> str:
        return f"Security(tls={self.tls!r}, token={'set' if self.token else None!r})"

    def headers(self) -> dict[str, str]:
        """Return the headers (for gRPC: metadata) of each request."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}
