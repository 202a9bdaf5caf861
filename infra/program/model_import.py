"""The model that `dlstack:model` names, looked at before anything is declared.

What it is decides its content, and not its name: the same content is copied once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from store import buckets, model_sources, models
from store import client as store_client
from store.client import Client
from store.errors import NoBucket, StoreError
from store.model_sources import Source
from store.models import Manifest, Version
from store.urls import S3Url, is_s3

from ..cluster import api, description, names, served
from ..cluster.clusters import Cluster
from ..cluster.description import Description
from ..resources import connection, deployed_store, imported_model
from ..resources.connection import Store
from ..run import checksums
from ..settings.run_inputs import STACK_SCHEME
from ..settings.settings import Settings
from . import bars
from .model_place import ModelPlace

_METRICS = 4
"""So many metrics are shown."""


@dataclass(frozen=True)
class PlannedImport:
    """A model that there is to be a copy of."""

    source: str
    """What it is, in words that begin a sentence."""
    url: str
    """Its `s3://` folder, or one of this machine."""
    store: Store | None
    """Where that is, if it is another stack's; None: in this stack's store, or on this machine."""
    identity: str
    """Of its content (`model_sources.Source`)."""
    seen: int | None
    """The version that is a copy of it; 0: none is; None: nobody can tell."""


@dataclass(frozen=True)
class _Found:
    words: str
    source: Source
    store: Store | None


def plan(settings: Settings, cluster: Cluster, own: ModelPlace | None) -> PlannedImport:
    """Return what there is to be a copy of, and say so.

    Args:
        settings: of the stack; they name a model.
        cluster: where it is.
        own: where the stack's own model is now; None: it has none.

    Raises:
        pulumi.RunError: there is no such model, and no copy of it; or it misses a bar.
    """
    given = str(settings.model)
    try:
        found = _find(given, settings, cluster, own)
    except (StoreError, pulumi.RunError) as error:
        return _copied_before(given, settings, cluster, own, error)
    copy = _copy_of(own, found.source.identity)
    metrics = copy[1].metrics if copy else _metrics(found.source)
    _require_bars(settings, found.words, metrics)
    if not copy:
        _require_no_regression(settings, cluster, own, found.words, metrics)
    seen = copy[0].number if copy else None if copy is None else 0
    _tell(settings, found.words, metrics, seen)
    return PlannedImport(
        found.words, str(found.source.place), found.store, found.source.identity, seen
    )


def _find(given: str, settings: Settings, cluster: Cluster, own: ModelPlace | None) -> _Found:
    if given.startswith(STACK_SCHEME):
        return _of_stack(given.removeprefix(STACK_SCHEME), settings, cluster)
    if not is_s3(given):
        return _Found(
            f"The model in the folder '{given}'",
            model_sources.in_folder(Path(given), checksums.of),
            None,
        )
    client = _own_client(settings, own)
    if client is None:
        raise pulumi.RunError(
            f"dlstack:model '{given}' lies in an object store, but the stack's own holds nothing "
            "yet, and no other is configured. Set dlstack:s3Region (AWS) or dlstack:s3Endpoint, or "
            "name a folder of this machine or another stack (stack:NAME/VERSION)."
        )
    try:
        source = model_sources.find(client, S3Url.parse(given))
    except NoBucket as error:
        raise pulumi.RunError(
            f"dlstack:model '{given}': the bucket is not there. Correct the URL."
        ) from error
    return _Found(f"The model at '{source.place}'", source, None)


def _own_client(settings: Settings, own: ModelPlace | None) -> Client | None:
    store = settings.store
    if store is not None:
        client = store_client.connect(store, direct=False)
        buckets.require_answer(client)
        return client
    return connection.connect(own.store) if own else None


def _of_stack(given: str, settings: Settings, cluster: Cluster) -> _Found:
    name, _, number = given.partition("/")
    told, namespace = _stack(given, name, cluster)
    if namespace == settings.namespace:
        raise pulumi.RunError(
            f"dlstack:model 'stack:{given}' is this stack itself. To serve one of its versions, "
            "set dlstack:modelVersion."
        )
    store = deployed_store.of(told, cluster, namespace)
    client = connection.connect(store)
    url = S3Url(told.output_bucket, f"models/{told.model_name}")
    whose = f"the model '{told.model_name}' of the stack '{told.stack}'"
    there = [version.number for version, _ in models.intact(client, url)]
    wanted = int(number) if number else told.pinned_version or max(there, default=0)
    if wanted not in there:
        shown = ", ".join(map(str, there)) or "none"
        problem = f"has no version {wanted}" if wanted else "has no version yet"
        raise pulumi.RunError(
            f"dlstack:model 'stack:{given}': {whose} {problem} that is intact. There are: {shown}."
        )
    words = f"Version {wanted} of {whose}"
    return _Found(words, model_sources.find(client, url / str(wanted)), store)


def _stack(given: str, name: str, cluster: Cluster) -> tuple[Description, str]:
    """Return what another stack says of itself, and its namespace."""
    wanted = (name, f"{pulumi.get_project()}-{name}")
    # By their default names: who may not list namespaces can use these.
    for namespace in wanted:
        told = description.find(cluster, namespace)
        if told is not None and told.stack in wanted:
            return told, namespace
    try:
        marked = api.items(cluster, f"/api/v1/namespaces?labelSelector={names.STACK_LABEL}")
    except api.Forbidden as refusal:
        raise pulumi.RunError(
            f"dlstack:model 'stack:{given}': the namespaces {' and '.join(map(repr, wanted))} hold "
            f"no stack '{name}', and this user may not list others. Name the model's s3:// URL, or "
            "let an administrator copy it."
        ) from refusal
    stacks = {one["metadata"]["name"]: one["metadata"]["labels"] for one in marked}
    for namespace, labels in stacks.items():
        told = description.find(cluster, namespace) if labels[names.STACK_LABEL] in wanted else None
        if told is not None:
            return told, namespace
    known = ", ".join(sorted(labels[names.STACK_LABEL] for labels in stacks.values())) or "none"
    raise pulumi.RunError(
        f"dlstack:model 'stack:{given}': no stack '{name}' is deployed in this cluster. Deployed "
        f"here: {known}. Of a stack in another cluster, copy the model into a bucket of this "
        "stack's store and name its s3:// URL."
    )


def _copied_before(
    given: str, settings: Settings, cluster: Cluster, own: ModelPlace | None, error: Exception
) -> PlannedImport:
    """Return the copy that there is of a model that can't be looked at any more."""
    problem = str(error)
    if given not in problem:
        problem = f"dlstack:model '{given}': {problem}"
    # What it led to may have been copied when it had another name.
    told = description.find(cluster, settings.namespace)
    identity = told.model_identity if told and told.model == given else ""
    try:
        copy = (
            imported_model.find_copy(connection.connect(own.store), own.url, identity, given)
            if own
            else None
        )
    except StoreError:
        copy = None
    if copy is None:
        raise pulumi.RunError(problem) from error
    version, manifest = copy
    _require_bars(settings, f"Version {version.number}", manifest.metrics)
    pulumi.log.warn(f"{problem} Version {version.number}, the copy of it, goes on serving.")
    origin = manifest.document.get("origin") or {"place": str(version.url)}
    source = f"The model at '{origin['place']}'"
    return PlannedImport(
        source, origin["place"], None, identity or origin["identity"], version.number
    )


def _copy_of(own: ModelPlace | None, identity: str) -> tuple[Version, Manifest] | tuple[()] | None:
    """Return the version that has a content; (): none has; None: nobody can tell."""
    try:
        return (
            imported_model.find_copy(connection.connect(own.store), own.url, identity) or ()
            if own
            else None
        )
    except NoBucket:
        return ()
    except StoreError:
        return None


def _metrics(source: Source) -> Mapping[str, Any]:
    return source.manifest.metrics if source.manifest else {}


def _require_bars(settings: Settings, words: str, metrics: Mapping[str, Any]) -> None:
    if missed := list(bars.failures(metrics, settings)):
        raise _refused(settings, words, missed)


def _require_no_regression(
    settings: Settings,
    cluster: Cluster,
    own: ModelPlace | None,
    words: str,
    metrics: Mapping[str, Any],
) -> None:
    if own is None or not (settings.max_decrease or settings.max_increase):
        return
    now = served.find(cluster, settings.namespace)
    if now is None or now.model_name != settings.model_name:
        return
    try:
        manifest = models.read_manifest(connection.connect(own.store), own.url / str(now.version))
    except StoreError:
        return
    if worse := list(bars.regressions(metrics, manifest.metrics, settings)):
        raise _refused(settings, words, worse)


def _refused(settings: Settings, words: str, why: Sequence[str]) -> pulumi.RunError:
    return pulumi.RunError(
        f"dlstack:model '{settings.model}': {words[0].lower()}{words[1:]} is refused: "
        f"{'; '.join(why)}. What serves now stays. Name another model, or ask for less."
    )


def _tell(settings: Settings, words: str, metrics: Mapping[str, Any], seen: int | None) -> None:
    shown = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in list(metrics.items())[:_METRICS]
    )
    how = f"is version {seen}" if seen else "becomes a version"
    use = "served" if settings.deploys else "published, not served (dlstack:deploy is false)"
    pulumi.log.info(
        f"{words}{f' ({shown})' if shown else ''} {how} of the model '{settings.model_name}', and "
        f"is {use}. Nothing is trained."
    )
