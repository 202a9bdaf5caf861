"""Buckets and folders in them, as dynamic resources. This path is part of existing stacks' state.

A bucket made by a stack is deleted with the stack only when it holds nothing that the stack did
not put there. What counts as the stack's own: objects that `Folder` uploaded (they carry a mark),
and everything below the bucket's `own_prefixes`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

from .. import s3
from .credentials import Store, connect
from .provider import Provider, changed, inputs_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_STARTUP_SECONDS = 30.0
"""How long a node port may take to work after the in-stack store's pod is Ready."""

_NAMES_SHOWN = 3


def other_store(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Say whether `news` is in another object store.

    The in-stack store stays the same when a node's address or port changes.
    """
    old, new = olds["store"], news["store"]
    if old["in_stack"] and new["in_stack"]:
        return bool(changed(old, new, "namespace", "context"))
    return bool(changed(old, new, "in_stack", "endpoint", "region"))


def connect_unless_gone(store: Store) -> "S3Client | None":
    """Return a client, or None if the in-stack store went with its namespace.

    Raises if the credentials of a store outside the cluster are gone: what it holds is still there.
    """
    try:
        return connect(store)
    except s3.Gone:
        if store["in_stack"]:
            return None
        raise


def _refuse_foreign_objects(
    client: "S3Client", bucket: str, keys: Sequence[str], own_prefixes: Sequence[str]
) -> None:
    rest = [key for key in keys if not key.startswith(tuple(own_prefixes))]
    foreign = sorted(set(rest) - set(s3.marks(client, bucket, rest)))
    if foreign:
        raise s3.StoreError(
            f"The bucket '{bucket}' holds {_objects(foreign)} that 'pulumi destroy' was not told "
            f"to delete, such as {_quoted(foreign)}. Copy or remove them, or set "
            "dlstack:forceDestroy to true, run 'pulumi up' and then 'pulumi destroy'."
        )


def _objects(keys: Sequence[str]) -> str:
    return "1 object" if len(keys) == 1 else f"{len(keys)} objects"


def _quoted(keys: Sequence[str]) -> str:
    return ", ".join(f"'{key}'" for key in keys[:_NAMES_SHOWN])


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
            s3.wait_until_it_answers(client, _STARTUP_SECONDS)
        s3.create_bucket(client, props["bucket"])
        return CreateResult(props["bucket"], inputs_of(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            client = connect(props["store"])
        except s3.Gone:
            # Without the Secret nothing is known of a store outside the cluster.
            return ReadResult("" if props["store"]["in_stack"] else id_, inputs_of(props))
        return ReadResult(id_ if s3.exists(client, id_) else "", inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(inputs_of(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        client = connect_unless_gone(_props["store"])
        if client is None:
            return
        try:
            keys = list(s3.list_objects(client, _id))
        except s3.Gone:
            return
        if not _props["force_destroy"]:
            _refuse_foreign_objects(client, _id, keys, _props["own_prefixes"])
        s3.delete_objects(client, _id, keys)
        s3.delete_bucket(client, _id)


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


class _FolderProvider(Provider):
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        result = super().check(_olds, news)
        if not str(news["prefix"]).endswith("/"):
            result.failures.append(
                CheckFailure("prefix", f"'{news['prefix']}' names an object. Put '/' at its end.")
            )
        return result

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = changed(_olds, _news, "bucket", "prefix")
        if other_store(_olds, _news):
            replaces.append("store")
        # Not the local path: it differs from one checkout to the next.
        changes = changed(_olds, _news, "bucket", "prefix", "store", "files")
        return DiffResult(changes=bool(changes), replaces=replaces, stables=["url"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._upload(props, known={})
        url = f"s3://{props['bucket']}/{props['prefix']}".rstrip("/")
        return CreateResult(url, {**inputs_of(props), "url": url})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        outs = inputs_of(props)
        try:
            client = connect(props["store"])
        except s3.Gone:
            return ReadResult("" if props["store"]["in_stack"] else id_, outs)
        if not s3.exists(client, props["bucket"]):
            return ReadResult("", outs)
        keys = {props["prefix"] + path: path for path in _sums(props)}
        there = s3.marks(client, props["bucket"], keys)
        # What was changed or deleted behind Pulumi's back differs from the inputs at the next `up`.
        outs["files"] = _lines({keys[key]: sha256 for key, sha256 in there.items()})
        return ReadResult(id_, outs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        self._upload(_news, known=_sums(_olds))
        return UpdateResult({**inputs_of(_news), "url": _id})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        client = connect_unless_gone(_props["store"])
        if client is not None:
            keys = [_props["prefix"] + path for path in _sums(_props)]
            s3.delete_objects(client, _props["bucket"], keys)

    def _upload(self, props: Mapping[str, Any], *, known: Mapping[str, str]) -> None:
        """Make the prefix equal to the folder. `known` is what an earlier upload left there."""
        client, bucket, prefix = connect(props["store"]), props["bucket"], props["prefix"]
        wanted = _sums(props)
        keys = {prefix + path for path in {**wanted, **known}}
        others = sorted(set(s3.list_objects(client, bucket, prefix)) - keys)
        leftovers = s3.marks(client, bucket, others)
        if foreign := [key for key in others if key not in leftovers]:
            raise s3.StoreError(
                f"The bucket '{bucket}' holds {_objects(foreign)} below '{prefix}' that this "
                f"stack did not put there, such as {_quoted(foreign)}. Move or remove them: a "
                "training run would read them."
            )
        root = Path(props["path"])
        s3.upload(
            client,
            bucket,
            [
                (root / path, prefix + path, sha256)
                for path, sha256 in wanted.items()
                if known.get(path) != sha256
            ],
        )
        s3.delete_objects(
            client, bucket, [*leftovers, *(prefix + path for path in known if path not in wanted)]
        )


def _sums(props: Mapping[str, Any]) -> dict[str, str]:
    """Return relative path -> SHA-256 from the lines in `files`."""
    return {path: sha256 for sha256, path in (line.split("  ", 1) for line in props["files"])}


def _lines(sums: Mapping[str, str]) -> list[str]:
    """Return the lines that `sha256sum` would print.

    Not an object: Pulumi keeps keys that start with '__', as in '__init__.py', to itself.
    """
    return [f"{sha256}  {path}" for path, sha256 in sorted(sums.items())]


class Folder(Resource, module="s3", name="Folder"):
    """A local folder's files below a prefix of a bucket. Only what changed is uploaded."""

    url: pulumi.Output[str]
    """`s3://bucket/prefix`, known once all files are there."""

    def __init__(
        self,
        name: str,
        *,
        path: str | Path,
        files: Mapping[str, str],
        bucket: pulumi.Input[str],
        prefix: str,
        store: Store,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a folder.

        Args:
            name: logical name.
            path: the local folder, relative to the project so that it is the same for everybody.
            files: relative path -> SHA-256.
            bucket: name of the bucket.
            prefix: what keys begin with; ends with '/'.
            store: the object store.
            opts: resource options.
        """
        props = {
            "path": str(path),
            "files": _lines(files),
            "bucket": bucket,
            "prefix": prefix,
            "store": store,
            "url": None,
        }
        super().__init__(_FolderProvider(), name, props, opts)


class _DestroyGuardProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        changes = changed(_olds, _news, "buckets", "store", "force_destroy")
        return DiffResult(changes=bool(changes), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("destroy-guard", inputs_of(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(inputs_of(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        client = None if _props["force_destroy"] else connect_unless_gone(_props["store"])
        if client is None:
            return
        for guarded in _props["buckets"]:
            try:
                keys = list(s3.list_objects(client, guarded["bucket"]))
            except s3.Gone:
                continue
            _refuse_foreign_objects(client, guarded["bucket"], keys, guarded["own_prefixes"])


class DestroyGuard(Resource, module="s3", name="DestroyGuard"):
    """Makes `pulumi destroy` refuse before it has deleted anything, not halfway.

    Buckets go last, when what uses them is gone already. This goes first, since it depends on
    everything, and looks into them.
    """

    def __init__(
        self,
        name: str,
        *,
        buckets: Sequence[tuple[pulumi.Input[str], Sequence[str]]],
        store: Store,
        force_destroy: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Declare a guard.

        Args:
            name: logical name.
            buckets: their names and own prefixes, as given to `Bucket`.
            store: the object store they lie in.
            force_destroy: refuse nothing.
            opts: resource options, which make it depend on everything that a refusal must save.
        """
        props = {
            "buckets": [
                {"bucket": bucket, "own_prefixes": list(own_prefixes)}
                for bucket, own_prefixes in buckets
            ],
            "store": store,
            "force_destroy": force_destroy,
        }
        super().__init__(_DestroyGuardProvider(), name, props, opts)
