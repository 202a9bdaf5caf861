"""How containers import the packages that they run: this checkout's, not a copy in the image."""

from collections.abc import Sequence
from dataclasses import dataclass

from pulumi_kubernetes.core.v1 import (
    ConfigMapProjectionArgs,
    EnvVarArgs,
    ProjectedVolumeSourceArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeProjectionArgs,
)

from ..resources.package import Package

FOLDER = "/opt/dlstack"
"""Where they are mounted."""
_VOLUME = "packages"


@dataclass(frozen=True)
class Packages:
    """Archives of packages in one volume of a pod."""

    volume: VolumeArgs
    mount: VolumeMountArgs
    environment: EnvVarArgs
    """PYTHONPATH: Python imports from zip archives that it names, as it does from folders."""

    @classmethod
    def of(cls, *packages: Package, beside: Sequence[Package] = ()) -> "Packages":
        """Return what a pod needs to import `packages`.

        Args:
            packages: on Python's path.
            beside: in the volume, for processes that name them.
        """
        sources = [
            VolumeProjectionArgs(config_map=ConfigMapProjectionArgs(name=package.config_map))
            for package in (*packages, *beside)
        ]
        return cls(
            VolumeArgs(name=_VOLUME, projected=ProjectedVolumeSourceArgs(sources=sources)),
            VolumeMountArgs(name=_VOLUME, mount_path=FOLDER, read_only=True),
            EnvVarArgs(
                name="PYTHONPATH",
                value=":".join(f"{FOLDER}/{package.archive}" for package in packages),
            ),
        )
