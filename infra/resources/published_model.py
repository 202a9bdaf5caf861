"""The published model that the prediction service serves, as a dynamic resource that reads it.

It writes nothing: the training Job publishes. The path of this module is part of stacks' state.
"""

import json
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store.client import Client
from store.errors import StoreError
from store.objects import list_files, read
from store.urls import S3Url

from .connection import Store, connect
from .provider import Provider, changed, inputs_of

_INPUTS = ("bucket", "model_name", "wanted_run_hash", "wanted_version", "store")


class _PublishedModelProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed(_olds, _news, *_INPUTS)), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["model_name"], _outputs(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # What was published is never changed, and the outputs say which version is deployed.
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_outputs(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The model stays in its bucket, which deletes it or not."""


def _outputs(props: dict[str, Any]) -> dict[str, Any]:
    wanted = props.get("wanted_version")
    version, manifest = find(
        connect(props["store"]),
        props["bucket"],
        props["model_name"],
        run_hash=props["wanted_run_hash"],
        # Every number arrives as a float: the engine passes properties as JSON-like values.
        version=None if wanted is None else int(wanted),
    )
    return {
        **inputs_of(props),
        "version": version,
        "run_hash": manifest["run_hash"],
        "metrics": manifest["metrics"],
        "provenance": _provenance(manifest),
    }


def _provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what made the model: the manifest's `provenance` and what stands beside it there."""
    beside = {key: manifest[key] for key in ("parameters", "created", "seconds") if key in manifest}
    return {**manifest.get("provenance", {}), **beside}


def find(
    client: Client, bucket: str, model: str, *, run_hash: str, version: int | None
) -> tuple[int, dict[str, Any]]:
    """Return number and manifest of `version`, or else of the newest one made by `run_hash`."""
    prefix = f"models/{model}/"
    versions = published_versions(client, bucket, model)
    for number in versions if version is None else [version] if version in versions else []:
        manifest = read_manifest(client, bucket, model, number)
        if version is not None or manifest["run_hash"] == run_hash:
            return number, manifest
    there = ", ".join(map(str, versions)) or "none"
    if version is not None:
        raise StoreError(
            f"Version {version} of the model '{model}' is not published. Set dlstack:modelVersion "
            f"to one of the versions in '{bucket}/{prefix}': {there}."
        )
    raise StoreError(
        f"The training run {run_hash[:12]} published no version of the model '{model}'. 'python "
        "-m infra logs' shows its log. Or set dlstack:modelVersion to one of the versions in "
        f"'{bucket}/{prefix}': {there}."
    )


def published_versions(client: Client, bucket: str, model: str) -> list[int]:
    """Return the versions of `model` that have a manifest, the newest first."""
    files = list_files(client, S3Url(bucket, f"models/{model}"))
    parts = [file.path.split("/") for file in files]
    numbers = (part[0] for part in parts if part[1:] == ["manifest.json"])
    return sorted((int(number) for number in numbers if number.isdecimal()), reverse=True)


def read_manifest(client: Client, bucket: str, model: str, version: int) -> dict[str, Any]:
    """Return the manifest of a published version; raise `StoreError` if it is not one."""
    key = f"models/{model}/{version}/manifest.json"
    try:
        manifest = json.loads(read(client, S3Url(bucket, key)))
        if isinstance(manifest["run_hash"], str) and isinstance(manifest["metrics"], dict):
            return dict(manifest)
        problem = "run_hash or metrics is of the wrong type"
    except (ValueError, KeyError, TypeError) as exc:
        problem = f"{type(exc).__name__}: {exc}"
    raise StoreError(
        f"'{bucket}/{key}' is not a model's manifest ({problem}). Delete that version."
    )


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
        run_hash: str,
        version: int | None,
        store: Store,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare which model to find.

        Args:
            name: logical name.
            bucket: the output bucket.
            model_name: the model.
            run_hash: of the run that published it.
            version: look for this version instead.
            store: the object store.
            opts: resource options; make it depend on the training Job.
        """
        props = {
            "bucket": bucket,
            "model_name": model_name,
            "wanted_run_hash": run_hash,
            "wanted_version": version,
            "store": store,
            "version": None,
            "run_hash": None,
            "metrics": None,
            "provenance": None,
        }
        super().__init__(_PublishedModelProvider(), name, props, opts)
