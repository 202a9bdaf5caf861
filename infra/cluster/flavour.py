"""What a pod reserves on a node, and which nodes it may run on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

GIB = 1024**3
DISK = "ephemeral-storage"
"""The resource of a node's disk."""


@dataclass(frozen=True, kw_only=True)
class Taint:
    """What keeps pods off a node that don't tolerate it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, kw_only=True)
class Toleration:
    """Which taints of nodes a pod bears, as in Kubernetes."""

    key: str | None = None
    """None, with `Exists`: any."""
    operator: str = "Equal"
    """`Equal` or `Exists`."""
    value: str | None = None
    effect: str | None = None
    """None: any."""
    seconds: int | None = None
    """How long, for the effect `NoExecute`; None: for ever."""

    def covers(self, taint: Taint) -> bool:
        """Say whether a pod with this gets onto a node with `taint`."""
        return (
            self.effect in (None, taint.effect)
            and self.key in (None, taint.key)
            and (self.operator == "Exists" or (self.value or "") == taint.value)
        )


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """What one pod reserves. Cores are capped only where it says so: idle ones may be used."""

    name: str
    cpu: float
    """Cores reserved."""
    cpu_limit: float | None = None
    """So many cores are used at most; None: idle cores of the node as well."""
    memory_gib: float
    """Memory reserved, in GiB."""
    memory_limit_gib: float
    """Above this the pod is killed. Equal to the reservation except for small flavours, where
    TensorFlow's start needs more than its steady state."""
    disk_gib: float | None = None
    """Disk of the node that is reserved, in GiB, and above which the pod is evicted; None: as much
    as the node has."""
    data_gib: float | None = None
    """Disk that is reserved for a data set where `disk_gib` is None, without a bound; None: none
    is."""
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    """The extended resource that the cluster's device plugin announces."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes that it runs on."""
    own_tolerations: tuple[Toleration, ...] = ()
    """See `tolerations`."""

    @property
    def requests(self) -> dict[str, str]:
        """Return `resources.requests` of a container."""
        reserved = self.disk or _mib(self.data_gib)
        return (
            self._gpus
            | ({DISK: reserved} if reserved else {})
            | {
                "cpu": f"{round(self.cpu * 1000)}m",
                "memory": f"{round(self.memory_gib * 1024)}Mi",
            }
        )

    @property
    def limits(self) -> dict[str, str]:
        """Return `resources.limits` of a container."""
        cpu = {} if self.cpu_limit is None else {"cpu": f"{round(self.cpu_limit * 1000)}m"}
        memory = {"memory": f"{round(self.memory_limit_gib * 1024)}Mi"}
        return self._gpus | self._disk | cpu | memory

    @property
    def tolerations(self) -> tuple[Toleration, ...]:
        """Return the pod's tolerations: its own, and the usual taint of nodes with its GPUs."""
        usual = (Toleration(key=self.gpu_resource, operator="Exists"),) if self.gpus else ()
        return (*usual, *self.own_tolerations)

    @property
    def disk(self) -> str | None:
        """Return the size of what its pods may write to the node's disk; None: as it is."""
        return _mib(self.disk_gib)

    @property
    def disk_bytes(self) -> int | None:
        """Return the same in bytes."""
        return None if self.disk_gib is None else round(self.disk_gib * 1024) * 2**20

    @property
    def _disk(self) -> dict[str, str]:
        return {DISK: self.disk} if self.disk else {}

    @property
    def _gpus(self) -> dict[str, str]:
        return {self.gpu_resource: str(self.gpus)} if self.gpus else {}

    def __str__(self) -> str:
        kind = "" if self.gpu_resource == Flavour.gpu_resource else f" {self.gpu_resource}"
        gpus = f", {self.gpus} GPU{kind}" if self.gpus else ""
        return f"'{self.name}' ({self.cpu:g} cores, {self.memory_gib:g} GiB{gpus})"


def _mib(gib: float | None) -> str | None:
    return None if gib is None else f"{round(gib * 1024)}Mi"
