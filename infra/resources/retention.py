"""`dlstack:keepVersions`: old versions go when another one serves, as a dynamic resource.

This path is part of existing stacks' state.
"""

from collections.abc import Collection, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store import folders
from store.errors import StoreError
from store.pruning import NOT_OURS, WAS_THERE, Needed, Unneeded
from store.urls import S3Url, is_s3

from ..cluster.served import Served
from . import pruning
from .connection import Store, connect
from .engine import tell
from .provider import Provider, changed, inputs_of

_INPUTS = ("keep", "model_name", "versions", "folders", "buckets", "given", "store")


class _RetentionProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed(_olds, _news, *_INPUTS)), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        _prune(props)
        return CreateResult("retention", inputs_of(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        _prune(_news)
        return UpdateResult(inputs_of(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Leave everything as it is."""


def _prune(props: dict[str, Any]) -> None:
    """Delete what can go. What hinders it is told, and no reason for an `up` to fail."""
    store, model_name = props["store"], props["model_name"]

    def ask() -> Needed:
        urls = [S3Url.parse(one) for one in props["folders"] if is_s3(one)]
        return pruning.needed(
            store["cluster"],
            store["namespace"],
            folders=[url.prefix.rpartition("/")[2] for url in urls if folders.is_index(url)],
            versions=[Served(one["model_name"], int(one["version"])) for one in props["versions"]],
            ended=False,
        )

    try:
        keep = int(props["keep"])
        output, data = props["buckets"]
        given = props.get("given") or ()
        found = pruning.prune(connect(store), store, output, data, keep, ask, model_name, given)
    except (StoreError, pulumi.RunError) as error:
        tell(f"No old versions were deleted (dlstack:keepVersions). {error}", stays=True)
        return
    for number in found.stays.get(model_name, ()):
        reason = found.reasons.get((model_name, number))
        if reason and reason not in (NOT_OURS, WAS_THERE):
            tell(
                f"dlstack:keepVersions is {keep}, and {model_name} {number} stays: {reason}. "
                f"'python -m infra prune --keep {keep}' says when it can go.",
                stays=True,
            )
    if found.versions:
        tell(f"dlstack:keepVersions is {keep}: {_words(found)} deleted.", stays=True)


def _words(found: Unneeded) -> str:
    names = ", ".join(one.name.rpartition(" ")[2] for one in reversed(found.versions))
    return (
        f"version{'s' if len(found.versions) > 1 else ''} {names}, with what only "
        f"{'they' if len(found.versions) > 1 else 'it'} needed ({found.size / 1e6:,.1f} MB),"
    )


class Retention(Resource, module="models", name="Retention"):
    """Deletes the versions of the stack's model that `dlstack:keepVersions` doesn't keep."""

    def __init__(
        self,
        name: str,
        *,
        keep: int,
        model_name: str,
        versions: Sequence[tuple[str, pulumi.Input[int]]],
        folders: Sequence[pulumi.Input[str]],
        output_bucket: pulumi.Input[str],
        data_bucket: pulumi.Input[str],
        given: Collection[str],
        store: Store,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Declare how many versions stay.

        Args:
            name: logical name.
            keep: so many of the newest, and what `pruning` says.
            model_name: of the model.
            versions: names and numbers of what is published and of what serves.
            folders: URLs of code and data.
            output_bucket: has the versions.
            data_bucket: has code and data.
            given: names of buckets that somebody else has made.
            store: the object store.
            opts: resource options, by which it comes after the roll-out.
        """
        props = {
            "keep": keep,
            "model_name": model_name,
            "versions": [{"model_name": one, "version": number} for one, number in versions],
            "folders": list(folders),
            "buckets": [output_bucket, data_bucket],
            "store": store,
            # Absent where there are none: states of before have no such input.
            **({"given": sorted(given)} if given else {}),
        }
        super().__init__(_RetentionProvider(), name, props, opts)
