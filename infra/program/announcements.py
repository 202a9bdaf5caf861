"""What the program says of training before anything is changed: what is trained, why, or why not.

`pulumi preview` and `pulumi up` show it.
"""

import pulumi

from store import models
from store.errors import StoreError
from store.models import Manifest, Version
from store.urls import S3Url

from ..resources import connection
from ..resources.connection import Store
from ..run import reasons
from ..run.planned import PlannedRun
from ..settings.settings import Settings

_KEEP = (
    "What serves now serves until then. To keep version {0} and train nothing: "
    "'pulumi config set dlstack:modelVersion {0}'."
)


def tell_what_is_trained(
    settings: Settings,
    run: PlannedRun,
    place: tuple[Store, S3Url] | None,
    published: tuple[Version, Manifest] | None,
) -> None:
    """Say that a new version is trained and which part of the run hash changed, a line for each.

    A stack that has published nothing yet is told nothing.

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
        newest = models.newest(connection.connect(place[0]), place[1]) if place else None
    except StoreError as error:
        pulumi.log.info(f"This may train a new version; why can't be told: {error}")
        return
    if newest is None:
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
    pulumi.log.info(_KEEP.format(version.number))


def tell_what_is_withheld(settings: Settings, place: tuple[Store, S3Url] | None) -> None:
    """Say that a version is pinned, and which newer one is not served because of that."""
    newest = None
    try:
        if place:
            newest = models.newest(connection.connect(place[0]), place[1])
    except StoreError:
        pass
    pinned = settings.model_version or 0
    number = newest[0].number if newest else 0
    newer = f" Version {number} is newer, and is not served." if number > pinned else ""
    pulumi.log.info(
        f"dlstack:modelVersion pins version {pinned}: nothing is trained.{newer} The way forward: "
        "'pulumi config rm dlstack:modelVersion', then 'pulumi up'."
    )
