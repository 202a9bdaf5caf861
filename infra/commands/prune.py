"""What of a stack's buckets nothing needs any more, told, and deleted if that is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from store.pruning import Going, Needed, Unneeded

from ..resources import pruning
from . import tables
from .deployed import Deployed, Selected
from .runs_text import metrics_text


@dataclass(frozen=True)
class Pruned:
    """What can go, or went."""

    found: Unneeded
    keep: int
    deleted: bool
    keeps: Sequence[str]
    """Buckets that keep what is deleted as older versions of objects."""
    model: str | None = None
    """The only one of which versions go; None: of all."""


def prune(
    stack: Deployed, selected: Selected, keep: int, model: str | None, *, delete: bool
) -> Pruned:
    """Look what can go, and delete it if that is asked for.

    Raises:
        pulumi.RunError: there is no such model.
        StoreError: somebody else prunes, or the store can't be used.
    """
    client = stack.connect()

    def ask() -> Needed:
        return pruning.needed(
            stack.cluster, stack.namespace, folders=selected.folders, versions=selected.versions
        )

    act = pruning.prune if delete else pruning.look
    buckets = stack.output_bucket, stack.data_bucket
    store = {**stack.store, "stack_id": stack.stack_id}
    found = act(client, store, *buckets, keep, ask, model, given=selected.given)
    if model is not None and model not in found.stays:
        names = ", ".join(found.stays) or "none"
        raise pulumi.RunError(f"--model '{model}' has no version. Models that have some: {names}.")
    keeps = pruning.keeps_versions(client, buckets) if found.all else []
    return Pruned(found, keep, delete, keeps, model)


def as_text(done: Pruned, width: int | None) -> str:
    """Return what `python -m infra prune` prints."""
    found = done.found
    rows = [("", "objects", "size", "")]
    for kind, some in (("version", found.versions), ("run", found.runs)):
        rows += [_row(f"{kind} {one.name}", [one], _detail(one)) for one in some]
    if found.folders:
        rows.append(_row("code and data", [*found.folders, *found.contents], _folders(found)))
    elif found.contents:
        rows.append(_row("code and data", found.contents, ""))
    parts = []
    if found.uploads:
        rows.append(_uploads(found, "of uploads that were cut short"))
    if found.all or found.uploads:
        rows.append(_row("deleted" if done.deleted else "can go", found.all, "", found.size))
        parts.append(tables.table(rows, width, heading=True, wrapped=3))
    else:
        parts.append("nothing can go")
    stays: list[tuple[str, str]] = []
    for name, numbers in found.stays.items():
        stays += [
            (f"{name} {number} stays", _of_staying(found, (name, number))) for number in numbers
        ] or [(name, "nothing is there")]
    if stays:
        parts.append(tables.table(stays, width, wrapped=1))
    parts += [tables.paragraph(f"{one}.", width) for one in found.unsure]
    if done.keeps:
        held = " and ".join(f"'{bucket}'" for bucket in done.keeps)
        parts.append(
            tables.paragraph(
                f"{held} keeps versions of its objects: what is deleted takes room until its "
                "lifecycle rules end it.",
                width,
            )
        )
    return "\n\n".join(parts)


def _row(
    name: str, going: Sequence[Going], detail: str, size: int | None = None
) -> tuple[str, str, str, str]:
    objects = sum(len(one.keys) for one in going)
    size = sum(one.size for one in going) if size is None else size
    return name, str(objects), tables.size(size), detail


def _uploads(found: Unneeded, detail: str) -> tuple[str, str, str, str]:
    return "unfinished", "", tables.size(sum(one.size for one in found.uploads)), detail


def _newest(done: Pruned, model: str) -> str:
    """Return why a version stays that nothing but its age keeps."""
    if done.model not in (None, model):
        return "--model names another model"
    return f"it is one of the newest {done.keep}" if done.keep > 1 else "it is the newest"


def _detail(going: Going) -> str:
    return ", ".join(filter(None, [going.detail, metrics_text(going.metrics)]))


def _of_staying(found: Unneeded, version: tuple[str, int]) -> str:
    told = [found.reasons.get(version, ""), metrics_text(found.metrics.get(version, {}))]
    return ", ".join(filter(None, told))


def _folders(found: Unneeded) -> str:
    count = len(found.folders)
    return f"of {count} folder{'s' if count > 1 else ''} that nothing names"


def as_json(done: Pruned) -> dict[str, Any]:
    """Return what `--json` prints. Keys are only ever added."""

    def told(going: Sequence[Going]) -> list[dict[str, Any]]:
        return [
            {
                "name": one.name,
                "objects": len(one.keys),
                "bytes": one.size,
                "detail": one.detail or None,
                "metrics": dict(one.metrics),
            }
            for one in going
        ]

    found = done.found
    return {
        "deleted": done.deleted,
        "bytes": found.size,
        "versions": told(found.versions),
        "runs": told(found.runs),
        "folders": told(found.folders),
        "contents": {
            "objects": sum(len(one.keys) for one in found.contents),
            "bytes": sum(one.size for one in found.contents),
        },
        "uploads": {
            "objects": len(found.uploads),
            "bytes": sum(one.size for one in found.uploads),
        },
        "stays": {name: list(numbers) for name, numbers in found.stays.items()},
        "reasons": {
            name: {
                str(number): found.reasons.get((name, number)) or _newest(done, name)
                for number in numbers
            }
            for name, numbers in found.stays.items()
        },
        "metrics": {
            name: {str(number): dict(found.metrics.get((name, number), {})) for number in numbers}
            for name, numbers in found.stays.items()
        },
        "unsure": list(found.unsure),
        "versionedBuckets": list(done.keeps),
    }
