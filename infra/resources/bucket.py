"""Buckets that a stack makes, as dynamic resources. This path is part of existing stacks' state.

A bucket is deleted with the stack only when it holds nothing that the stack did not put there
(`foreign_objects`).
"""

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    UpdateResult,
)

from store import buckets
from store.errors import Gone
from store.objects import delete_many, list_objects
from store.urls import S3Url

from . import foreign_objects
from .connection import Store, connect, connect_unless_gone, other_store
from .provider import Provider, changed, inputs_of

_STARTUP_SECONDS = 30.0
"""How long a node port may take to work after the in-stack store's pod is Ready."""


class _BucketProvider(Provider):
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        result = super().check(_olds, news)
        if any(prefix == "" for prefix in news["own_prefixes"]):
            result.failures.append(
                CheckFailure("own_prefixes", "An empty prefix is everything. Use force_destroy.")
            )
        return result

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = changed(_olds, _news, "bucket")
        if other_store(_olds, _news):
            replaces.append("store")
        changes = changed(_olds, _news, "bucket", "store", "own_prefixes", "force_destroy")
        return DiffResult(changes=bool(changes), replaces=replaces, stables=["bucket"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        client = connect(props["store"])
        if props["store"]["in_stack"]:
            buckets.wait_until_it_answers(client, _STARTUP_SECONDS)
        buckets.create(client, props["bucket"])
        return CreateResult(props["bucket"], inputs_of(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            client = connect(props["store"])
        except Gone:
            # Without the Secret nothing is known of a store outside the cluster.
            return ReadResult("" if props["store"]["in_stack"] else id_, inputs_of(props))
        return ReadResult(id_ if buckets.exists(client, id_) else "", inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(inputs_of(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        client = connect_unless_gone(_props["store"])
        if client is None:
            return
        try:
            keys = [entry.path for entry in list_objects(client, S3Url(_id))]
        except Gone:
            return
        if not _props["force_destroy"]:
            foreign_objects.refuse(client, _id, keys, _props["own_prefixes"])
        delete_many(client, _id, keys)
        buckets.delete(client, _id)


class Bucket(Resource, module="s3", name="Bucket"):
    """A bucket that this stack makes, and deletes when only the stack's own objects are in it."""

    bucket: pulumi.Output[str]
    """Its name, known once it exists."""

    def __init__(
        self,
        name: str,
        *,
        bucket: str,
        store: Store,
        own_prefixes: Sequence[str],
        force_destroy: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a bucket.

        Args:
            name: logical name.
            bucket: physical name, from `names.bucket`.
            store: the object store it lies in.
            own_prefixes: what the stack's Jobs write, and `destroy` may delete.
            force_destroy: delete everything that is in it.
            opts: resource options.
        """
        props = {
            "bucket": bucket,
            "store": store,
            "own_prefixes": list(own_prefixes),
            "force_destroy": force_destroy,
        }
        super().__init__(_BucketProvider(), name, props, opts)
