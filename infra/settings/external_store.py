"""An object store that exists already, as `dlstack:s3Endpoint` and its neighbours describe it."""

import re
from typing import Literal, get_args

import pulumi

from store.access import Access, Addressing

from . import name_rules
from .reader import Reader

Credentials = Literal["keys", "environment"]

_CREDENTIALS: tuple[Credentials, ...] = get_args(Credentials)
_STYLES: tuple[Addressing, ...] = get_args(Addressing)
_ONLY_WITH_A_STORE = (
    "s3AccessKey",
    "s3SecretKey",
    "s3SessionToken",
    "s3Credentials",
    "s3AddressingStyle",
    "s3CaCertificate",
)
_MOST_BYTES = 65_536
"""Of the certificates: Linux takes no variable of 128 KiB."""


def read(reader: Reader) -> Access | None:
    """Return the configured store, AWS or any other; None: the stack runs its own.

    With `s3Credentials` environment it is reached by what boto3 finds by itself.
    """
    endpoint, region = reader.text("s3Endpoint"), reader.text("s3Region")
    if not endpoint and not region:
        for key in _ONLY_WITH_A_STORE:
            if reader.text(key) not in ("", _CREDENTIALS[0]):
                raise pulumi.RunError(
                    f"dlstack:{key} is set, but no object store is configured. Set "
                    "dlstack:s3Region (AWS) or dlstack:s3Endpoint, or remove the key: the stack's "
                    "own object store makes its credentials itself."
                )
        return None
    if endpoint and not re.fullmatch(r"https?://[^/\s]+/?", endpoint):
        reader.fail("s3Endpoint", "is not the URL of an object store. Use http(s)://HOST[:PORT]")
    access_key, secret_key, session_token = _credentials(reader)
    return Access(
        endpoint=endpoint.rstrip("/"),
        region=region or "us-east-1",
        access_key=access_key,
        secret_key=secret_key,
        session_token=session_token,
        addressing=reader.choice("s3AddressingStyle", "path", _STYLES[1:])
        if reader.text("s3AddressingStyle")
        else "",
        ca_certificate=_authorities(reader, endpoint),
    )


def _credentials(reader: Reader) -> tuple[str, str, str]:
    # By itself the access key opens nothing.
    access_key, secret_key = reader.text("s3AccessKey"), reader.secret("s3SecretKey")
    session_token = reader.secret("s3SessionToken")
    if reader.choice("s3Credentials", "keys", _CREDENTIALS) == "environment":
        for key, value in (
            ("s3AccessKey", access_key),
            ("s3SecretKey", secret_key),
            ("s3SessionToken", session_token),
        ):
            if value:
                raise pulumi.RunError(
                    f"dlstack:{key} is set, but dlstack:s3Credentials is 'environment': pods and "
                    "this shell have credentials of their own. Remove one of the two with 'pulumi "
                    "config rm'."
                )
        return "", "", ""
    return (
        _required("s3AccessKey", access_key),
        _required("s3SecretKey", secret_key),
        session_token,
    )


def _required(key: str, value: str) -> str:
    if not value:
        raise pulumi.RunError(
            f"dlstack:{key} is not set, but an object store is configured. "
            f"Run 'pulumi config set --secret dlstack:{key} VALUE'. Or, where this shell and the "
            "pods have an identity of their own (a profile, a role of the service account or of "
            "the node), 'pulumi config set dlstack:s3Credentials environment'."
        )
    return value


def _authorities(reader: Reader, endpoint: str) -> str:
    """Return the PEM text of the authorities that vouch for the store."""
    text = reader.text("s3CaCertificate").strip()
    if not text:
        return ""
    if endpoint.startswith("http:"):
        raise pulumi.RunError(
            f"dlstack:s3CaCertificate is set, but dlstack:s3Endpoint '{endpoint}' is not "
            "encrypted. Use https://, or remove the key."
        )
    problem = ""
    if len(text.encode()) > _MOST_BYTES:
        problem = f"it has more than {_MOST_BYTES} bytes: leave out the authorities of others"
    else:
        # 30 ms, which only stacks with an authority of their own need.
        from cryptography import x509

        try:
            x509.load_pem_x509_certificates(text.encode())
        except ValueError as exc:
            problem = str(exc).splitlines()[0].rstrip(".")
    if problem:
        raise pulumi.RunError(
            f"dlstack:s3CaCertificate can't be used: {problem}. Set it to the PEM text: 'pulumi "
            "config set dlstack:s3CaCertificate < ca.pem'."
        )
    return text + "\n"


def buckets(reader: Reader, store: Access | None) -> dict[str, str]:
    """Return `data` and `output` -> name of a bucket that somebody else has made; empty: the stack
    makes its own.

    Raises:
        pulumi.RunError: there is no store for them, both are the same, or a name can't be one.
    """
    found = {}
    for role in ("data", "output"):
        name = reader.text(f"{role}Bucket", "")
        if name:
            name_rules.given_bucket(name, f"dlstack:{role}Bucket")
            if store is None:
                reader.fail(
                    f"{role}Bucket",
                    "names a bucket of a store of yours, but the stack runs its own. Set "
                    "dlstack:s3Endpoint or dlstack:s3Region, or remove it",
                )
        found[role] = name
    if found["data"] and found["data"] == found["output"]:
        reader.fail("outputBucket", "is dlstack:dataBucket, too. Name two buckets")
    return found
