"""The published model that the prediction service serves, as a dynamic resource that reads it.

It writes nothing: the training Job publishes. The path of this module is part of stacks' state.
"""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store import models
from store.client import Client
from store.errors import NoBucket, StoreError
from store.models import Damaged, Manifest
from store.urls import S3Url

from .connection import Store, connect
from .provider import Provider, changed, inputs_of

_INPUTS = ("bucket", "model_name", "wanted_run_hash", "wanted_version", "attempt", "store")


RESTORE_OR_TRAIN = (
    "Restore a backup: 'python -m infra restore FILE'. Or remove the pin, and the configured run "
    "is trained: 'pulumi config rm dlstack:modelVersion'."
)
"""What to do where a version is pinned and none is published."""


class _PublishedModelProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return difference(_olds, _news, *_INPUTS)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["model_name"], _outputs(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return as_found(id_, props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_outputs(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The model stays in its bucket, which deletes it or not."""


def difference(olds: dict[str, Any], news: dict[str, Any], *inputs: str) -> DiffResult:
    """Return whether the resource of a version has to look anew: for these inputs, or by itself."""
    changes = bool(changed(olds, news, *inputs))
    # What a refresh has found to be damaged has no version; the program may have seen another.
    seen = news.get("seen")
    changes = changes or olds.get("version") is None
    changes = changes or (seen is not None and seen != olds.get("version"))
    return DiffResult(changes=changes, replaces=[])


def as_found(id_: str, props: dict[str, Any]) -> ReadResult:
    """Return what a refresh finds of a version: none, where it is gone or damaged."""
    outs = inputs_of(props)
    if outs.get("version") is not None and is_lost(outs):
        outs["version"] = None
    return ReadResult(id_, outs)


def _outputs(props: dict[str, Any]) -> dict[str, Any]:
    # What is None is not among the properties.
    wanted = props.get("wanted_version")
    version, manifest = find(
        connect(props["store"]),
        props["bucket"],
        props["model_name"],
        # Absent while a version is pinned: nothing is planned then.
        run_hash=props.get("wanted_run_hash", ""),
        # Every number arrives as a float: the engine passes properties as JSON-like values.
        version=None if wanted is None else int(wanted),
    )
    return {
        **inputs_of(props),
        "version": version,
        **outputs_of(manifest),
    }


def outputs_of(manifest: Manifest) -> dict[str, Any]:
    """Return what a resource says of the version that has this manifest."""
    return {
        "run_hash": manifest.run_hash,
        "metrics": dict(manifest.metrics),
        "provenance": _provenance(manifest),
    }


def is_lost(outs: dict[str, Any]) -> bool:
    """Say whether the version is known to be gone or damaged. A store that is away says nothing."""
    try:
        find(
            connect(outs["store"]),
            outs["bucket"],
            outs["model_name"],
            run_hash="",
            version=int(outs["version"]),
        )
    except (NotPublished, NoBucket):
        return True
    except StoreError:
        return False
    return False


def _provenance(manifest: Manifest) -> dict[str, Any]:
    """Return what made the model: the manifest's `provenance` and what stands beside it there."""
    told = manifest.document
    keys = ("parameters", "created", "seconds", "origin")
    beside = {key: told[key] for key in keys if key in told}
    return {**told.get("provenance", {}), **beside}


class NotPublished(StoreError):
    """There is no such version that is intact."""


def find(
    client: Client, bucket: str, model: str, *, run_hash: str, version: int | None
) -> tuple[int, Manifest]:
    """Return number and manifest of `version`, or else of the newest one made by `run_hash`.

    Raises:
        NotPublished: there is none that is intact.
    """
    url = S3Url(bucket, f"models/{model}")
    if version is None:
        found = models.newest_of_run(client, url, run_hash)
        if found.version is not None and found.manifest is not None:
            return found.version.number, found.manifest
        damage = f" {found.damaged[0]}" if found.damaged else ""
        there = _intact(client, url)
        other = f" Or set dlstack:modelVersion to one of the versions there: {there}."
        raise NotPublished(
            f"The training run {run_hash[:12]} has no intact version of the model '{model}' in "
            f"'{url}'.{damage} Run 'pulumi up' again: it publishes one.{other if there else ''}"
        )
    problem = "is not published"
    for one in models.published(client, url):
        if one.number == version:
            try:
                manifest = models.read_manifest(client, one.url)
                models.require_intact(client, one, manifest)
                return version, manifest
            except Damaged as error:
                problem = f"is damaged: {error.problem}"
    there = _intact(client, url)
    advice = (
        f"Set dlstack:modelVersion to one of the versions in '{url}': {there}. Or remove it, and "
        "the version of the configured run is served."
        if there
        else f"'{url}' has no intact version. {RESTORE_OR_TRAIN}"
    )
    raise NotPublished(f"Version {version} of the model '{model}' {problem}. {advice}")


def _intact(client: Client, url: S3Url) -> str:
    """Return the numbers of the intact versions, the newest first, for a message."""
    found = models.intact(client, url)
    return ", ".join(str(version.number) for version, _ in found)


class PublishedModel(Resource, module="models", name="PublishedModel"):
    """A version of a model, found by the run that made it or pinned by its number."""

    version: pulumi.Output[int]
    run_hash: pulumi.Output[str]
    """Which code and data made it: differs from the present ones for a pinned version."""
    metrics: pulumi.Output[dict[str, Any]]
    provenance: pulumi.Output[dict[str, Any]]
    """Commit, hashes, parameters, times: docs/contracts.md."""

    def __init__(
        self,
        name: str,
        *,
        bucket: pulumi.Input[str],
        model_name: str,
        run_hash: str | None,
        version: int | None,
        attempt: int | None,
        seen: int | None,
        store: Store,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare which model to find.

        Args:
            name: logical name.
            bucket: the output bucket.
            model_name: the model.
            run_hash: of the run that published it; None if `version` is given.
            version: look for this version, whatever made it.
            attempt: of the run's Job; after another one it is looked for again.
            seen: the version that the bucket has of it, where that is known.
            store: the object store.
            opts: resource options; make it depend on the end of the training run.
        """
        props = {
            "bucket": bucket,
            "model_name": model_name,
            "wanted_run_hash": run_hash,
            "wanted_version": version,
            "attempt": attempt,
            "seen": seen,
            "store": store,
            "version": None,
            "run_hash": None,
            "metrics": None,
            "provenance": None,
        }
        super().__init__(_PublishedModelProvider(), name, props, opts)
