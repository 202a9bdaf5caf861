"""How a store is reached, and by whom: as values, and as variables of a process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Addressing = Literal["", "path", "virtual"]

ACCESS_KEY = "AWS_ACCESS_KEY_ID"
SECRET_KEY = "AWS_SECRET_ACCESS_KEY"
SESSION_TOKEN = "AWS_SESSION_TOKEN"
REGION = "AWS_REGION"
ENDPOINT = "AWS_ENDPOINT_URL_S3"
ADDRESSING_STYLE = "DLSTACK_S3_ADDRESSING_STYLE"
CA_CERTIFICATE = "DLSTACK_S3_CA_CERTIFICATE"
"""Names of variables: those of boto3, and what boto3 has no variable for (docs/contracts.md)."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """An address, who asks there, and what the store has of its own."""

    endpoint: str = ""
    """URL; empty for AWS."""
    region: str = ""
    """Part of every signature, on stores without regions too."""
    access_key: str = field(default="", repr=False)
    """Empty: boto3 looks for credentials by itself: in variables, a profile, or an identity that
    the machine or the pod has."""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    """Of credentials that expire; empty for those that last."""
    addressing: Addressing = ""
    """Where a bucket's name stands: in the path, or in the host's name (`virtual`). Empty: in the
    path of an endpoint of one's own, and as boto3 has it for AWS."""
    ca_certificate: str = ""
    """PEM text of the authorities whose certificates are trusted; empty: those known anyway."""

    @classmethod
    def of(cls, variables: Mapping[str, str], endpoint: str, region: str) -> "Access":
        """Return how a store is reached of which these variables are set."""
        style = variables.get(ADDRESSING_STYLE)
        return cls(
            endpoint=endpoint,
            region=region,
            access_key=variables.get(ACCESS_KEY, ""),
            secret_key=variables.get(SECRET_KEY, ""),
            session_token=variables.get(SESSION_TOKEN, ""),
            addressing="path" if style == "path" else "virtual" if style == "virtual" else "",
            ca_certificate=variables.get(CA_CERTIFICATE, ""),
        )

    @property
    def variables(self) -> dict[str, str]:
        """All but address and region, as far as it is set: as variables."""
        found = {
            ACCESS_KEY: self.access_key,
            SECRET_KEY: self.secret_key,
            SESSION_TOKEN: self.session_token,
            ADDRESSING_STYLE: str(self.addressing),
            CA_CERTIFICATE: self.ca_certificate,
        }
        return {name: value for name, value in found.items() if value}
