"""Credentials generated for the in-stack store, as a dynamic resource.

This path is part of existing stacks' state.
"""

import secrets
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store.access import ACCESS_KEY, SECRET_KEY
from store.errors import Gone

from ..cluster.clusters import Cluster
from . import connection
from .provider import Provider, inputs_of


class _GeneratedCredentialsProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        try:
            # Of a state that is lost: the store runs, and knows no others.
            there = connection.read_variables(props["kept_in"])
            access_key, secret_key = there[ACCESS_KEY], there[SECRET_KEY]
        except (Gone, KeyError):
            # The alphabets of AWS: clients and signatures are known to take them.
            access_key, secret_key = secrets.token_hex(10).upper(), secrets.token_hex(20)
        return CreateResult(access_key, {"access_key": access_key, "secret_key": secret_key})

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

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        namespace: pulumi.Input[str],
        secret: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare credentials.

        Args:
            name: logical name.
            cluster: of the stack.
            namespace: of the stack.
            secret: the Secret that they are put into; those that it has already are kept.
            opts: resource options.
        """
        kept_in = {"cluster": cluster, "namespace": namespace, "secret": secret}
        super().__init__(
            _GeneratedCredentialsProvider(),
            name,
            {"kept_in": kept_in, "access_key": None, "secret_key": None},
            pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(additional_secret_outputs=["access_key", "secret_key"]), opts
            ),
        )
