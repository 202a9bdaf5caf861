"""A model from elsewhere, copied into the stack's bucket as a version, as a dynamic resource.

The same content is copied once: the version that has it is found again. The path of this module is
part of stacks' state.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store import model_sources, models, slowness
from store.client import Client
from store.errors import Changed, NoObject
from store.model_sources import Source
from store.models import MANIFEST_FILE, Damaged, Manifest, Version
from store.objects import write
from store.parallel import THREADS, in_parallel
from store.urls import S3Url, is_s3

from ..run import checksums
from .connection import Store, connect
from .engine import in_this_call, tell
from .provider import Provider, inputs_of
from .published_model import as_found, difference, outputs_of

_INPUTS = ("bucket", "model_name", "identity", "store")


class _ImportedModelProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        # Not the place: the same content at another one is the same model.
        return difference(_olds, _news, *_INPUTS)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["model_name"], _outputs(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return as_found(id_, props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_outputs(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The model stays in its bucket, which deletes it or not."""


def find_copy(
    client: Client, model_url: S3Url, identity: str = "", given: str = ""
) -> tuple[Version, Manifest] | None:
    """Return the newest intact version that has a content, or was copied from a place.

    Args:
        client: of the bucket.
        model_url: of the model.
        identity: of the source; empty: it can't be known any more.
        given: `dlstack:model` as it was written when it was copied, which counts then.
    """

    def is_it(version: Version) -> Manifest | None:
        try:
            manifest = models.read_manifest(client, version.url)
            origin = manifest.document.get("origin") or {}
            if identity:
                same = identity in (
                    origin.get("identity"),
                    model_sources.content_of(manifest.files),
                )
            else:
                same = origin.get("given") == given
            if same:
                models.require_intact(client, version, manifest)
                return manifest
        except (Damaged, NoObject):
            pass
        return None

    left = models.published(client, model_url)
    while left:
        some, left = left[:THREADS], left[THREADS:]
        for version, manifest in zip(some, in_parallel(is_it, some), strict=True):
            if manifest is not None:
                return version, manifest
    return None


def _outputs(props: dict[str, Any]) -> dict[str, Any]:
    client = connect(props["store"])
    url = S3Url(props["bucket"], f"models/{props['model_name']}")
    found = find_copy(client, url, props["identity"])
    if found is None:
        _copy(props, client, url)
        found = find_copy(client, url, props["identity"])
    if found is None:
        raise Changed(f"{props['source']} was written while it was copied. Run 'pulumi up' again.")
    version, manifest = found
    return {**inputs_of(props), "version": version.number, **outputs_of(manifest)}


def _copy(props: Mapping[str, Any], client: Client, url: S3Url) -> None:
    """Copy the model as the next version: files first, the manifest last."""
    source_client, source = _look(props)
    if source.identity != props["identity"]:
        raise Changed(f"{props['source']} has changed just now. Run 'pulumi up' again.")
    total = sum(file.size for file in source.files)
    tell(f"Copying {props['source']}, {total / 1e6:,.1f} MB.")
    told = source.manifest.document if source.manifest else {}
    run_hash = source.manifest.run_hash if source.manifest else ""
    run_hash = run_hash or source.identity
    number = models.claim(client, url, run_hash)
    with slowness.told(
        in_this_call(tell),
        lambda seconds: (
            f"Copying {props['source']}, {total / 1e6:,.1f} MB, takes long: {seconds:.0f} s so far"
        ),
    ):
        files = model_sources.copy(source_client, source, client, url / str(number))
    manifest = {
        "model_name": props["model_name"],
        "version": number,
        "run_hash": run_hash,
        "files": [asdict(file) for file in files],
        "metrics": told.get("metrics", {}),
        "parameters": told.get("parameters", {}),
        "provenance": told.get("provenance", {}),
        "sources": told.get("sources", {}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": told.get("seconds", {}),
        "origin": {
            "given": props["given"],
            "place": str(source.place),
            "identity": source.identity,
            **{key: told[key] for key in ("model_name", "version", "created") if key in told},
            # Of a copy of a copy: where it was trained.
            **({"origin": told["origin"]} if "origin" in told else {}),
        },
    }
    write(client, url / f"{number}/{MANIFEST_FILE}", json.dumps(manifest, indent=2).encode())
    tell(f"{props['source']} is version {number} of '{props['model_name']}'.", stays=True)


def _look(props: Mapping[str, Any]) -> tuple[Client | None, Source]:
    place = props["source_url"]
    if not is_s3(place):
        return None, model_sources.in_folder(Path(place), checksums.of)
    client = connect(props["source_store"])
    return client, model_sources.find(client, S3Url.parse(place))


class ImportedModel(Resource, module="models", name="ImportedModel"):
    """A version of a model whose content comes from elsewhere."""

    version: pulumi.Output[int]
    run_hash: pulumi.Output[str]
    """Of the run that made the original; of a model that no run of dlstack made, its content's."""
    metrics: pulumi.Output[dict[str, Any]]
    provenance: pulumi.Output[dict[str, Any]]
    """Of the original, and where the copy comes from: docs/contracts.md."""

    def __init__(
        self,
        name: str,
        *,
        source: str,
        given: str,
        source_url: str,
        source_store: Store | None,
        identity: str,
        seen: int | None,
        bucket: pulumi.Input[str],
        model_name: str,
        store: Store,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare which model to copy.

        Args:
            name: logical name.
            source: what it is, in words.
            given: `dlstack:model` as it is configured.
            source_url: its `s3://` folder, or one of this machine.
            source_store: where that is; None: on this machine.
            identity: of its content (`model_sources.Source`).
            seen: the version that has this content already; 0: none has; None: nobody can tell.
            bucket: the output bucket.
            model_name: under which it is published.
            store: the object store of the bucket.
            opts: resource options.
        """
        props = {
            "source": source,
            "given": given,
            "source_url": source_url,
            "source_store": source_store,
            "identity": identity,
            "seen": seen,
            "bucket": bucket,
            "model_name": model_name,
            "store": store,
            "version": None,
            "run_hash": None,
            "metrics": None,
            "provenance": None,
        }
        super().__init__(_ImportedModelProvider(), name, props, opts)
