"""How full the disk of a stack's own object store is, as the store's pod says it.

SeaweedFS' servers tell it to their pod only. The way there is that of the store itself, so nobody
needs another right.

Each bucket has volumes of its own, of 128 MB, and the disk has room for a number of them. So a
bucket may be full while volumes of another one are empty, as soon as there is no room for one more.
"""

import http.client
import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from store.room import in_gb

from . import names, port_forward
from .clusters import Cluster

VOLUME_SERVER_PORT = 8080
MASTER_PORT = 9333
"""SeaweedFS' defaults. They listen on the pod's own loopback address."""

_TIMEOUT_SECONDS = 5
_LITTLE_SHARE = 0.1
_LITTLE_BYTES = 20e9
_LEAST_SHARE = 0.02
"""SeaweedFS takes nothing more when a hundredth is free."""


@dataclass(frozen=True)
class Disk:
    """A disk, in bytes."""

    size: int
    free: int
    is_given_out: bool = False
    """No bucket gets another volume, and one of them has one left at most that takes anything."""

    @property
    def is_nearly_full(self) -> bool:
        """Whether somebody has to do something about it."""
        little = min(_LITTLE_SHARE * self.size, _LITTLE_BYTES)
        return self.is_given_out or self.free < max(little, _LEAST_SHARE * self.size)


def look(cluster: Cluster, namespace: str) -> Disk | None:
    """Return the disk of the stack's own store; None if that can't be told now.

    Where a volume is a folder of its node, it is the node's disk.

    Args:
        cluster: where the stack is.
        namespace: of the stack.
    """
    try:
        (disk, *_) = _ask(cluster, namespace, VOLUME_SERVER_PORT, "/status")["DiskStatuses"]
        told = _ask(cluster, namespace, MASTER_PORT, "/dir/status")["Topology"]
        writable = [len(one["writables"] or ()) for one in told.get("Layouts") or ()]
        given_out = not told["Free"] and min(writable, default=2) < 2
        # What is 0 is left out.
        return Disk(int(disk["all"]), int(disk.get("free", 0)), given_out)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None


def _ask(cluster: Cluster, namespace: str, port: int, path: str) -> Any:
    way = port_forward.to(cluster, namespace, names.OBJECT_STORE, port)
    # No proxy of the environment leads there.
    asked = http.client.HTTPConnection("127.0.0.1", way.port, timeout=_TIMEOUT_SECONDS)
    with closing(asked):
        asked.request("GET", path)
        return json.loads(asked.getresponse().read())


def advice(disk: Disk) -> str:
    """Return that there is little room, and what makes more."""
    given = ", and given out to its buckets" if disk.is_given_out else ""
    return (
        f"The disk of the stack's own object store is nearly full: {in_gb(disk.free)} of "
        f"{in_gb(disk.size)} are free{given}. 'pulumi config set dlstack:storageSize SIZE' and "
        "'pulumi up' have it grow, 'python -m infra prune --keep N' makes room "
        "(docs/operations.md, A store that is full)."
    )
