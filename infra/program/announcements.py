"""What the program says of training before anything is changed: what is trained, why, or why not.

`pulumi preview` and `pulumi up` show it.
"""

import pulumi

from store import models
from store.client import Client
from store.errors import StoreError
from store.models import Manifest, Version
from store.objects import list_folders
from store.urls import S3Url

from ..cluster import served
from ..cluster.clusters import Cluster
from ..cluster.served import Served
from ..resources import connection, published_model
from ..resources.published_model import NotPublished
from ..run import reasons
from ..run.planned import PlannedRun
from ..settings.settings import Settings
from .model_place import ModelPlace

_NAMES = 3
"""So many models are named."""

_KEEP = (
    "What serves now serves until then. To keep version {0} and train nothing: "
    "'pulumi config set dlstack:modelVersion {0}'."
)
_NOT_SERVED = (
    "It is published and not served: dlstack:deploy is false. To serve it: "
    "'pulumi config set dlstack:deploy true', then 'pulumi up'."
)


def tell_what_is_trained(
    settings: Settings,
    run: PlannedRun,
    place: ModelPlace | None,
    published: tuple[Version, Manifest] | None,
) -> None:
    """Say that a new version is trained and which part of the run hash changed, a line for each.

    A stack that has published nothing yet is told nothing but that it is not served.

    Args:
        settings: of the stack.
        run: whose Job is about to be made.
        place: of the model, as the stack has it now; None: it has none.
        published: the intact version of this very run, if it has one.
    """
    if published is not None:
        pulumi.log.info(
            f"Version {published[0].number} of the model '{settings.model_name}' misses a bar that "
            "the configuration has now (dlstack:minAccuracy, minMetrics, maxMetrics). A Job says "
            "by how much; it trains nothing."
        )
        return
    try:
        client = connection.connect(place.store) if place else None
        newest = models.newest(client, place.url) if client and place else None
        others = _other_models(client, place.url) if client and place and not newest else []
    except StoreError as error:
        pulumi.log.info(f"This may train a new version; why can't be told: {error}")
        return
    if newest is None:
        if others:
            pulumi.log.info(
                f"This trains the first version of the model '{settings.model_name}': the stack "
                f"has published only {_enumerated(others)} so far. What serves now serves until "
                "then. To train another version of one of these, set dlstack:modelName to its name."
            )
        if not settings.deploys:
            pulumi.log.info(_NOT_SERVED)
        return
    version, manifest = newest
    found = reasons.of(
        run,
        manifest.document,
        parameters=settings.run_parameters,
        code_dir=str(settings.code_dir),
        data_dir=settings.data_dir,
        own_image=settings.image != settings.runtime_image,
    )
    why = found or [f"what the run {run.hash[:12]} had published is gone"]
    pulumi.log.info(f"This trains a new version of the model '{settings.model_name}':")
    for reason in why:
        pulumi.log.info(f"  since version {version.number}, {reason}")
    if _is_of_another_boot_file(manifest, settings):
        pulumi.log.info(
            "If that is another model, give it a name of its own: "
            "'pulumi config set dlstack:modelName NAME'."
        )
    pulumi.log.info(_KEEP.format(version.number) if settings.deploys else _NOT_SERVED)


def _is_of_another_boot_file(manifest: Manifest, settings: Settings) -> bool:
    told = manifest.document.get("provenance") or {}
    return bool(told.get("boot_file", settings.boot_file) != settings.boot_file)


def _other_models(client: Client, url: S3Url) -> list[str]:
    """Return the names of the other models that the stack has published, in quotes."""
    folder, _, own = url.prefix.rpartition("/")
    names = list_folders(client, S3Url(url.bucket, folder))
    return [f"'{name}'" for name in names if name != own]


def _enumerated(names: list[str]) -> str:
    """Return `'a', 'b' and 'c'`, or of many the first ones and how many more there are."""
    shown = names if len(names) <= _NAMES else [*names[:_NAMES], f"{len(names) - _NAMES} more"]
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)


def tell_what_is_withheld(settings: Settings, place: ModelPlace | None, cluster: Cluster) -> None:
    """Say that a version is pinned, and which newer one is not served because of that.

    Raises:
        pulumi.RunError: it is not published, or damaged, and does not serve already.
    """
    newest, pinned = None, settings.model_version or 0
    try:
        if place:
            client = connection.connect(place.store)
            newest = models.newest(client, place.url)
            published_model.find(
                client, place.url.bucket, settings.model_name, run_hash="", version=pinned
            )
    except NotPublished as error:
        if served.find(cluster, settings.namespace) != Served(settings.model_name, pinned):
            raise pulumi.RunError(str(error)) from error
        pulumi.log.warn(f"It serves on from what its pods have. {error}")
    except StoreError:
        pass
    number = newest[0].number if newest else 0
    newer = f" Version {number} is newer, and is not served." if number > pinned else ""
    pulumi.log.info(
        f"dlstack:modelVersion pins version {pinned}: nothing is trained.{newer} The way forward: "
        "'pulumi config rm dlstack:modelVersion', then 'pulumi up'."
    )
