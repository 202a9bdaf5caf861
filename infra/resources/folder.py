"""Local folders in a bucket, as dynamic resources. This path is part of existing stacks' state.

A folder lies there by its content (`store.folders`): another content is another folder beside it,
and what the versions of models were made of stays. `python -m infra prune` takes away what nothing
needs any more, and the bucket goes with the stack.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store import bucket_marks, folders, marks
from store.client import Client
from store.errors import Gone, NoBucket, NoObject, StoreError
from store.folders import LocalFile
from store.objects import delete_many, list_prefix
from store.parallel import in_parallel
from store.transfers import copy_within
from store.urls import S3Url

from ..run import checksums, local_files
from ..run.line_ends import open_with_lf
from .connection import Store, connect, connect_to_delete
from .engine import in_this_call, tell
from .force import is_forced
from .ownership import is_anothers, look_into
from .provider import Provider, changed, inputs_of

_CODE, _DATA = "dlstack:codeDir", "dlstack:dataDir"


class _FolderProvider(Provider):
    # No digest: nothing is to be there, as where a version is pinned from the beginning.
    may_be_empty = frozenset({"digest"})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        # Not the local path: it differs from one checkout to the next. Nor the number of files.
        changes = changed(_olds, _news, "bucket", "store", "digest")
        return DiffResult(changes=bool(changes), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        _upload(props, {})
        outs = _outputs(props)
        return CreateResult(outs["url"], outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        outs = inputs_of(props)
        if not props.get("digest"):
            return ReadResult(id_, outs)
        url = _url(props)
        try:
            whole = look_into(
                props["bucket"], props["store"], lambda client: folders.is_complete(client, url)
            )
        except Gone:
            return ReadResult("", outs)
        if whole is False:
            # The next `up` puts there what somebody has taken away.
            outs["digest"] = ""
        return ReadResult(id_, outs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        # In another store, or on another volume, nothing is known to be there.
        stays = not changed(_olds, _news, "store", "bucket")
        _upload(_news, _olds if stays else {})
        return UpdateResult(_outputs(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        # Versions may need it. Before there were indexes, nothing did.
        if "files" not in _props:
            return
        client = connect_to_delete(_props["store"], lambda: is_forced(_props))
        if client is not None and _is_own_bucket(client, _props):
            delete_many(client, _props["bucket"], _before_indexes(_props))


def _upload(props: Mapping[str, Any], olds: Mapping[str, Any]) -> None:
    """Make a folder in the bucket. `olds`: of an earlier one in the same bucket, if there was one.

    Without the folder on this machine, if all of it is in the bucket.
    """
    if not props["digest"]:
        return
    client, bucket, url = connect(props["store"]), props["bucket"], _url(props)
    before = _before_indexes(olds)
    if not folders.hold(client, url, tell):
        files = _files(props)
        if before:
            _copy(client, S3Url(bucket, olds["prefix"]), before, files)
        opened = open_with_lf if props["source"] else None
        folders.put(
            client,
            bucket,
            files,
            lambda: _known(client, olds),
            opened,
            in_this_call(lambda line: tell(f"'{props['path']}': {line}")),
        )
    delete_many(client, bucket, before)


def _files(props: Mapping[str, Any]) -> list[LocalFile]:
    """Return the files of the local folder, which must be what the program saw.

    They are no inputs: the state would have all of their names.
    """
    path, source = props["path"], props["source"]
    sums = checksums.code(path, _CODE) if source else checksums.data(path, _DATA)
    if folders.digest(sums) != props["digest"]:
        raise StoreError(
            f"'{path}' was changed after its checksums were taken, and was not sent. Run the "
            "command again when nobody writes to it."
        )
    root = Path(path)
    return [
        _local(one, sha256, local_files.find(root, one) if source else root / one, source)
        for one, sha256 in sums.items()
    ]


def _local(path: str, sha256: str, file: Path, source: bool) -> LocalFile:
    try:
        if not source:
            return LocalFile(path, file.stat().st_size, sha256, str(file))
        size = 0
        with open_with_lf(file) as opened:
            while content := opened.read(2**20):
                size += len(content)
    except OSError as error:
        raise StoreError(
            f"'{file}' can't be read: {error.strerror or error}. Check the file."
        ) from error
    return LocalFile(path, size, sha256, str(file))


def _known(client: Client, olds: Mapping[str, Any]) -> set[str]:
    """Return the SHA-256s of contents that an earlier folder has there."""
    if not olds.get("digest"):
        return set()
    try:
        return {one.sha256 for one in folders.entries(client, _url(olds))}
    except NoObject:
        return set()


def _before_indexes(olds: Mapping[str, Any]) -> dict[str, str]:
    """Return key -> SHA-256 of what lies there as a plain folder, as dlstack once sent them."""
    lines = (line.split("  ", 1) for line in olds.get("files", ()))
    return {olds["prefix"] + path: sha256 for sha256, path in lines}


def _copy(client: Client, place: S3Url, before: Mapping[str, str], files: list[LocalFile]) -> None:
    """Copy contents that lie there as plain files, within the store."""
    wanted, bucket = {one.sha256 for one in files}, place.bucket
    places = {sha256: key for key, sha256 in before.items() if sha256 in wanted}
    there = marks.marks(client, bucket, places.values())
    sizes = {one.path: one.size for one in list_prefix(client, bucket, place.prefix)}

    def one(item: tuple[str, str]) -> None:
        sha256, key = item
        copy_within(client, S3Url(bucket, key), folders.blob(bucket, sha256), sizes[key])

    in_parallel(one, [item for item in places.items() if there.get(item[1]) == item[0]])


def _is_own_bucket(client: Client, props: Mapping[str, Any]) -> bool:
    try:
        mark = bucket_marks.find(client, props["bucket"])
    except NoBucket:
        return False
    return not is_anothers(mark, props["store"])


def _url(props: Mapping[str, Any]) -> S3Url:
    return folders.index(props["bucket"], props["digest"])


def _outputs(props: Mapping[str, Any]) -> dict[str, Any]:
    return {**inputs_of(props), "url": str(_url(props))}


class Folder(Resource, module="s3", name="Folder"):
    """A local folder's files in a bucket. Only contents that are not there yet are uploaded."""

    url: pulumi.Output[str]
    """`s3://bucket/folders/<digest>`, known once all files are there."""

    def __init__(
        self,
        name: str,
        *,
        path: str | Path,
        files: Mapping[str, str],
        bucket: pulumi.Input[str],
        store: Store,
        source: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a folder.

        Args:
            name: logical name.
            path: the local folder, relative to the project so that it is the same for everybody.
            files: relative path -> SHA-256; none: nothing is to be there.
            bucket: name of the bucket.
            store: the object store.
            source: it is code, hashed by `checksums.code` and sent like this.
            opts: resource options.
        """
        props = {
            "path": str(path),
            "digest": folders.digest(files) if files else "",
            "count": len(files),
            "bucket": bucket,
            "store": store,
            "source": source,
            "url": None,
        }
        super().__init__(_FolderProvider(), name, props, opts)
