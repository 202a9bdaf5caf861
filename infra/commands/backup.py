"""Backups of a stack's versions: written to a file or a bucket of another store, and put back."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from store import backups, bucket_marks, buckets, restoring
from store.backups import DATA, OUTPUT, Found
from store.client import Client, from_environment
from store.errors import BucketTaken, NoBucket
from store.restoring import Below, Place
from store.urls import S3Url, is_s3

from ..resources.ownership import is_anothers, whose
from . import restore_advice, tables
from .deployed import Deployed, Selected


@dataclass(frozen=True)
class BackedUp:
    """A backup that is complete."""

    where: str
    found: Found
    size: int
    """Bytes of all objects."""
    sent: int | None
    """How many objects were sent; None: to a file, all of them."""


@dataclass(frozen=True)
class Restored:
    """What was put back."""

    where: str
    versions: Mapping[str, Sequence[int]]
    created: str
    stack: str
    """That was backed up."""
    put: int
    there: int
    """Objects that needed no restoring."""


def backup(stack: Deployed, where: str, model: str | None, *, with_data: bool) -> BackedUp:
    """Write a stack's versions to a file, or below a URL in the store of the environment.

    Raises:
        pulumi.RunError: there is nothing to keep, or the file can't be written.
        StoreError: a store can't be used, or something was changed meanwhile.
    """
    target = _file_for(where)
    url = S3Url.parse(where) if target is None else None
    other = _other_store() if url else None
    if url and other:
        _require_other_place(stack, url, other)
    client = stack.connect()
    found = backups.look(
        client, stack.output_bucket, stack.data_bucket, with_data=with_data, model=model
    )
    if not found.versions:
        what = f"The model '{model}'" if model else f"The stack '{stack.name}'"
        damaged = f" Damaged ones: {'; '.join(found.damaged)}." if found.damaged else ""
        raise pulumi.RunError(f"{what} has no version that can be backed up.{damaged}")
    size = sum(one.size for one in found.objects)
    about = {"stack": stack.name}
    if url and other:
        sent = backups.to_store(client, _buckets(stack), found, other, url, **about)
        return BackedUp(where, found, size, sent)
    assert target is not None
    try:
        backups.to_file(client, _buckets(stack), found, target, **about)
    except OSError as error:
        raise pulumi.RunError(
            f"Can't write '{where}': {error.strerror or error}. Nothing of it is left. Name "
            "another file, or make room."
        ) from error
    return BackedUp(where, found, size, None)


def restore(stack: Deployed, chosen: Selected, where: str) -> Restored:
    """Put the versions of a backup into a stack's buckets.

    Args:
        stack: with its buckets.
        chosen: the same, with its configuration, by which advice is given.
        where: the backup: a file, or a URL in the store of the environment.

    Raises:
        pulumi.RunError: there is no such file.
        StoreError: it is no whole backup, or the buckets have other versions of these numbers.
    """
    client = stack.connect()
    _require_own(stack, client)
    with _place(where) as place:
        told = restoring.listed(place, where)
        if isinstance(place, restoring.File):
            place.check(told.objects)
        try:
            put, there = restoring.restore(client, _buckets(stack), place, told.objects, _tell)
        except restoring.Another as error:
            advice = restore_advice.of_conflict(stack, chosen, told.versions)
            raise pulumi.RunError(f"{error} {advice}") from error
    return Restored(where, told.versions, told.created, told.stack, put, there)


def versions_of(where: str) -> Mapping[str, Sequence[int]]:
    """Return the numbers of the versions that a backup has, by model. Errors as for `restore`."""
    with _place(where) as place:
        return restoring.listed(place, where).versions


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _buckets(stack: Deployed) -> dict[str, str]:
    return {OUTPUT: stack.output_bucket, DATA: stack.data_bucket}


def _file_for(where: str) -> Path | None:
    """Return the file that is to be written; None for a URL."""
    if is_s3(where):
        return None
    file = Path(where)
    if os.path.lexists(file):
        raise pulumi.RunError(f"'{where}' is there already. Name a file that is not.")
    try:
        # Known now, and not when all of it was read.
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            return file
    except OSError as error:
        raise pulumi.RunError(
            f"Can't write to the folder '{file.parent}': {error.strerror}. Name another one."
        ) from error


@contextmanager
def _place(where: str) -> Iterator[Place]:
    if is_s3(where):
        yield Below(_other_store(), S3Url.parse(where))
        return
    try:
        with restoring.in_file(Path(where)) as place:
            yield place
    except OSError as error:
        raise pulumi.RunError(
            f"Can't read '{where}': {error.strerror or error}. Name a backup."
        ) from error


def _other_store() -> Client:
    """Return a client of the store of the environment. Raises Unreachable, after seconds."""
    found = from_environment()
    buckets.require_answer(found)
    return found


def _require_other_place(stack: Deployed, url: S3Url, client: Client) -> None:
    """Refuse a backup in the buckets that it is of: they would go together."""
    if url.bucket not in _buckets(stack).values():
        return
    # A store may have several addresses, and AWS has none in the stack's configuration.
    there, own = (bucket_marks.find(one, url.bucket) for one in (client, stack.connect()))
    if there == own if own else client.endpoint == stack.store["endpoint"]:
        raise pulumi.RunError(
            f"'{url}' is in a bucket of the stack itself. Name another bucket, best in another "
            "store."
        )


def _require_own(stack: Deployed, client: Client) -> None:
    for bucket in _buckets(stack).values():
        try:
            mark = bucket_marks.find(client, bucket)
        except NoBucket as error:
            raise pulumi.RunError(
                f"The stack '{stack.name}' has no bucket '{bucket}' yet. Run 'pulumi up' first; "
                "docs/versions.md says how without a training."
            ) from error
        if mark is not None and is_anothers(mark, {**stack.store, "stack_id": stack.stack_id}):
            raise BucketTaken(f"The bucket '{bucket}' belongs to {whose(mark)}.")


def backed_up_text(done: BackedUp, width: int | None) -> str:
    """Return what `python -m infra backup` prints."""
    rows = [
        (name, "versions " + ", ".join(map(str, numbers)))
        for name, numbers in done.found.versions.items()
    ]
    objects = f"{len(done.found.objects)} objects, {tables.size(done.size)}"
    sent = "" if done.sent is None else f", {done.sent} of them sent now"
    rows.append((done.where, objects + sent))
    rows += [("left out", one) for one in done.found.damaged]
    rows += [("not in the bucket", one) for one in done.found.without_code]
    if count := done.found.data_left_out:
        sets = "1 data set" if count == 1 else f"{count} data sets"
        rows.append(("not in it", f"{sets}, not asked for: --data"))
    return tables.table(rows, width, wrapped=1)


def restored_text(done: Restored, width: int | None) -> str:
    """Return what `python -m infra restore` prints."""
    rows = [
        (name, "versions " + ", ".join(map(str, numbers)))
        for name, numbers in done.versions.items()
    ]
    of = f"of the stack '{done.stack}', " if done.stack else ""
    rows.append((done.where, f"{of}{done.created}"))
    rows.append(("objects", f"{done.put} put, {done.there} there already"))
    return tables.table(rows, width, wrapped=1)


def backed_up_json(done: BackedUp) -> dict[str, Any]:
    """Return what `--json` prints. Keys are only ever added."""
    return {
        "where": done.where,
        "versions": {name: list(numbers) for name, numbers in done.found.versions.items()},
        "objects": len(done.found.objects),
        "bytes": done.size,
        "sent": len(done.found.objects) if done.sent is None else done.sent,
        "damaged": list(done.found.damaged),
        "missing": list(done.found.without_code),
        "dataLeftOut": done.found.data_left_out,
    }


def restored_json(done: Restored) -> dict[str, Any]:
    """Return what `--json` prints. Keys are only ever added."""
    return {
        "where": done.where,
        "versions": {name: list(numbers) for name, numbers in done.versions.items()},
        "created": done.created,
        "stack": done.stack or None,
        "put": done.put,
        "there": done.there,
    }
