"""An object store that exists already, as `dlstack:s3Endpoint` and its neighbours describe it."""

import re
from dataclasses import dataclass, field

import pulumi

from .reader import Reader


@dataclass(frozen=True, kw_only=True)
class ExternalStore:
    """AWS, or anything S3-compatible."""

    endpoint: str
    """URL; empty for AWS."""
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


def read(reader: Reader) -> ExternalStore | None:
    """Return the configured store; None: the stack runs its own."""
    endpoint, region = reader.text("s3Endpoint"), reader.text("s3Region")
    if not endpoint and not region:
        for key in ("s3AccessKey", "s3SecretKey"):
            if reader.text(key):
                raise pulumi.RunError(
                    f"dlstack:{key} is set, but no object store is configured. Set "
                    "dlstack:s3Region (AWS) or dlstack:s3Endpoint, or remove the key: the stack's "
                    "own object store makes its credentials itself."
                )
        return None
    if endpoint and not re.fullmatch(r"https?://[^/\s]+/?", endpoint):
        reader.fail("s3Endpoint", "is not the URL of an object store. Use http(s)://HOST[:PORT]")
    return ExternalStore(
        endpoint=endpoint.rstrip("/"),
        region=region or "us-east-1",
        # By itself it opens nothing.
        access_key=_required("s3AccessKey", reader.text("s3AccessKey")),
        secret_key=_required("s3SecretKey", reader.secret("s3SecretKey")),
    )


def _required(key: str, value: str) -> str:
    if not value:
        raise pulumi.RunError(
            f"dlstack:{key} is not set, but an object store is configured. "
            f"Run 'pulumi config set --secret dlstack:{key} VALUE'."
        )
    return value
