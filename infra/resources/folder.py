"""Local folders in a bucket, as dynamic resources. This path is part of existing stacks' state."""

from collections.abc import Mapping
from pathlib import Path
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

from store import bucket_marks, marks
from store.client import Client
from store.errors import Gone, NoBucket, StoreError
from store.objects import delete_many, list_objects
from store.urls import S3Url

from ..run import local_files
from ..run.line_ends import open_with_lf
from .connection import Store, connect, connect_to_delete
from .force import is_forced
from .foreign_objects import count, quoted
from .moving import is_elsewhere
from .ownership import is_anothers, look_into
from .provider import Provider, changed, inputs_of


class _FolderProvider(Provider):
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        result = super().check(_olds, news)
        if not str(news["prefix"]).endswith("/"):
            result.failures.append(
                CheckFailure("prefix", f"'{news['prefix']}' names an object. Put '/' at its end.")
            )
        return result

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = changed(_olds, _news, "prefix")
        if not is_elsewhere(_olds, _news):
            replaces += changed(_olds, _news, "bucket")
        # Not the local path: it differs from one checkout to the next.
        changes = changed(_olds, _news, "bucket", "prefix", "store", "files")
        return DiffResult(changes=bool(changes), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._upload(props, known={})
        url = str(_url(props))
        return CreateResult(url, {**inputs_of(props), "url": url})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        outs = inputs_of(props)
        bucket = props["bucket"]
        keys = {props["prefix"] + path: path for path in _sums(props)}
        try:
            there = look_into(
                bucket, props["store"], lambda client: marks.marks(client, bucket, keys)
            )
        except Gone:
            return ReadResult("", outs)
        if there is not None:
            # What was changed or deleted behind Pulumi's back differs from the inputs at the next
            # `up`.
            outs["files"] = _lines({keys[key]: sha256 for key, sha256 in there.items()})
        return ReadResult(id_, outs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        # In another store, or on another volume, nothing is known to be there.
        stays = not changed(_olds, _news, "store")
        self._upload(_news, known=_sums(_olds) if stays else {})
        return UpdateResult({**inputs_of(_news), "url": str(_url(_news))})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        client = connect_to_delete(_props["store"], lambda: is_forced(_props))
        if client is not None and _is_own_bucket(client, _props):
            keys = [_props["prefix"] + path for path in _sums(_props)]
            delete_many(client, _props["bucket"], keys)

    def _upload(self, props: Mapping[str, Any], *, known: Mapping[str, str]) -> None:
        """Make the prefix equal to the folder. `known` is what an earlier upload left there."""
        client, bucket, prefix = connect(props["store"]), props["bucket"], props["prefix"]
        there = {prefix + entry.path for entry in list_objects(client, _url(props))}
        wanted = _sums(props)
        keys = {prefix + path for path in {**wanted, **known}}
        others = sorted(there - keys)
        leftovers = marks.marks(client, bucket, others)
        if foreign := [key for key in others if key not in leftovers]:
            raise StoreError(
                f"The bucket '{bucket}' holds {count(foreign)} below '{prefix}' that this "
                f"stack did not put there, such as {quoted(foreign)}. Move or remove them: a "
                "training run would read them."
            )
        root, source = Path(props["path"]), props["source"]
        marks.upload(
            client,
            bucket,
            [
                (local_files.find(root, path) if source else root / path, prefix + path, sha256)
                for path, sha256 in wanted.items()
                if known.get(path) != sha256
            ],
            there,
            *([open_with_lf] if source else []),
        )
        delete_many(
            client, bucket, [*leftovers, *(prefix + path for path in known if path not in wanted)]
        )


def _is_own_bucket(client: Client, props: Mapping[str, Any]) -> bool:
    try:
        mark = bucket_marks.find(client, props["bucket"])
    except NoBucket:
        return False
    return not is_anothers(mark, props["store"])


def _url(props: Mapping[str, Any]) -> S3Url:
    """Return the place of the folder, whose keys begin with `prefix` (it ends with '/')."""
    return S3Url(props["bucket"], props["prefix"].removesuffix("/"))


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
        source: bool = False,
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
            source: it is code, hashed by `checksums.code` and sent like this.
            opts: resource options.
        """
        props = {
            "path": str(path),
            "files": _lines(files),
            "bucket": bucket,
            "prefix": prefix,
            "store": store,
            "source": source,
            "url": None,
        }
        super().__init__(_FolderProvider(), name, props, opts)
