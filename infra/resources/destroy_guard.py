"""A look into all buckets before `pulumi destroy` deletes anything, as a dynamic resource.

This path is part of existing stacks' state.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store import bucket_marks, contents
from store.errors import NoBucket
from store.models import MANIFEST_FILE

from . import foreign_objects
from .connection import Store, connect_to_delete
from .engine import tell
from .force import is_forced
from .ownership import is_anothers
from .provider import Provider, changed, inputs_of

_PUBLISHED = re.compile(rf"models/([^/]+)/([1-9]\d*)/{re.escape(MANIFEST_FILE)}")
"""Key of what a version has once readers see it."""


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
        store = _props["store"]
        client = connect_to_delete(store, lambda: is_forced(_props))
        if client is None:
            return
        found = []
        models: dict[str, set[int]] = {}
        for guarded in _props["buckets"]:
            bucket = guarded["bucket"]
            try:
                if is_anothers(bucket_marks.find(client, bucket), store):
                    continue
                held = contents.look(client, bucket)
            except NoBucket:
                continue
            for version in held.versions:
                if published := _PUBLISHED.fullmatch(version.key):
                    models.setdefault(published[1], set()).add(int(published[2]))
            found.append(foreign_objects.holding(client, bucket, held, guarded["own_prefixes"]))
        if any(found) and not is_forced(_props):
            raise foreign_objects.refusal(list(filter(None, found)))
        if store["in_stack"] and models:
            tell(_going(models), stays=True)


def _going(models: Mapping[str, Collection[int]]) -> str:
    """Return that the in-stack store's models go; `models` is name -> version numbers."""
    named = ", ".join(
        f"{len(numbers)} version{'s' if len(numbers) > 1 else ''} of the model '{name}'"
        for name, numbers in sorted(models.items())
    )
    return (
        f"The in-stack object store goes with the stack, and with it {named}. What keeps them is a "
        "backup from before: 'python -m infra backup FILE'."
    )


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
