"""The object store's credentials: generated for the in-stack store, kept in one Secret.

The dynamic providers get the Secret's name and read it when they are called: a provider's inputs
are kept in the state, and a changed key must not leave the old one behind in it. The path of this
module is part of existing stacks' state.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from .. import s3
from ..cluster import api
from .provider import Provider, inputs_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Store = Mapping[str, Any]
"""Input of the dynamic resources: `endpoint` (empty: AWS), `region`, `in_stack`, and the Secret's
`context`, `namespace` and `secret`."""

ACCESS_KEY = "AWS_ACCESS_KEY_ID"
SECRET_KEY = "AWS_SECRET_ACCESS_KEY"


def connect(store: Store) -> "S3Client":
    """Return a client of `store`. Raises `s3.Gone` if its Secret went with its namespace."""
    access_key, secret_key = read_credentials(store)
    return s3.connect(
        store["endpoint"], store["region"], access_key, secret_key, direct=store["in_stack"]
    )


def read_credentials(store: Store) -> tuple[str, str]:
    """Return access key and secret key, as the Secret has them now."""
    namespace, name = store["namespace"], store["secret"]
    document = api.get(store["context"], f"/api/v1/namespaces/{namespace}/secrets/{name}")
    if document is None:
        raise s3.Gone(
            f"The Secret '{name}' with the object store's credentials is not in the namespace "
            f"'{namespace}'. Run 'pulumi refresh', then 'pulumi up'."
        )
    data = document["data"]
    access_key, secret_key = (
        base64.b64decode(data[key]).decode() for key in (ACCESS_KEY, SECRET_KEY)
    )
    return access_key, secret_key


class _GeneratedCredentialsProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        # The alphabets of AWS: clients and signatures are known to take them.
        access_key = secrets.token_hex(10).upper()
        return CreateResult(
            access_key, {"access_key": access_key, "secret_key": secrets.token_hex(20)}
        )

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(inputs_of(_olds))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing outside the state knows them."""


class GeneratedCredentials(Resource, module="credentials", name="GeneratedCredentials"):
    """An access key and a secret key, made once and kept in the state as secrets."""

    access_key: pulumi.Output[str]
    secret_key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            _GeneratedCredentialsProvider(),
            name,
            {"access_key": None, "secret_key": None},
            pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(additional_secret_outputs=["access_key", "secret_key"]), opts
            ),
        )
