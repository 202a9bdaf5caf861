"""The node's disk that a training pod reserves for its data set.

Without that a pod may come to a node where the data set has no room: Kubernetes ends it when the
disk is nearly full, and starts another one, which fetches all of it again. With it the scheduler
looks for a node with room.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import pulumi

from store.urls import is_s3

from ..cluster import nodes
from ..cluster.clusters import Cluster
from ..cluster.flavour import DISK, GIB, Flavour
from ..cluster.quantities import quantity
from ..run.planned import PlannedRun
from ..settings.settings import Settings

_LEAST_BYTES = GIB
"""A smaller data set reserves nothing: nodes have that much."""
_BESIDES_GIB = 1.0
"""For code, packages, checkpoints and the model."""


def reserved(
    settings: Settings, run: PlannedRun, cluster: Cluster, job: Mapping[str, Any] | None
) -> Flavour:
    """Return the flavour of the run's pods, with the disk that its data set takes.

    Args:
        settings: of the stack.
        run: that is planned.
        cluster: in which.
        job: of the attempt that stands: what its pods reserve stays; None: one is to be made.

    Raises:
        pulumi.RunError: the flavour's own disk is smaller than the data set.
    """
    flavour = settings.flavour
    if job is not None:
        return _as_it_is(flavour, job)
    size = 0 if settings.data_mode == "stream" else _size(settings, run)
    if size < _LEAST_BYTES:
        return flavour
    gib = size / GIB
    if flavour.disk_gib is not None:
        if flavour.disk_gib < gib:
            raise pulumi.RunError(
                f"dlstack:flavour '{flavour.name}' has a disk of {flavour.disk_gib:g} GiB, and "
                f"dlstack:dataDir has {gib:.1f} GiB, which each training pod fetches. Give the "
                "flavour a bigger disk (dlstack:flavours), or set dlstack:dataMode to 'stream'."
            )
        return flavour
    found = nodes.listed(cluster)
    # Some nodes say nothing of their disks, and take no pod that reserves any.
    if found and not any(DISK in node.resources for node in found):
        return flavour
    return dataclasses.replace(flavour, data_gib=math.ceil(gib + _BESIDES_GIB))


def _as_it_is(flavour: Flavour, job: Mapping[str, Any]) -> Flavour:
    if flavour.disk_gib is not None:
        return flavour
    (container, *_) = job["spec"]["template"]["spec"]["containers"]
    size = (container.get("resources", {}).get("requests") or {}).get(DISK)
    return flavour if size is None else dataclasses.replace(flavour, data_gib=quantity(size) / GIB)


def _size(settings: Settings, run: PlannedRun) -> int:
    """Return the bytes of the data set; 0 where nobody here can tell."""
    if is_s3(settings.data_dir):
        return sum(int(told.partition("-")[0]) for told in run.data.values())
    try:
        # There may be 100,000, and a `Path` of each takes longer than the look.
        return sum(os.stat(f"{settings.data_dir}/{path}").st_size for path in run.data)
    except OSError:
        # Not on this machine.
        return 0
