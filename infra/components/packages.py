"""How containers import the packages that they run: this checkout's, not a copy in the image."""

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

_FOLDER = "/opt/dlstack"
_VOLUME = "packages"


@dataclass(frozen=True)
class Packages:
    """Archives of packages in one volume of a pod."""

    volume: VolumeArgs
    mount: VolumeMountArgs
    environment: EnvVarArgs
    """PYTHONPATH: Python imports from zip archives that it names, as it does from folders."""

    @classmethod
    def of(cls, *packages: Package) -> "Packages":
        """Return what a pod needs to import `packages`."""
        sources = [
            VolumeProjectionArgs(config_map=ConfigMapProjectionArgs(name=package.config_map))
            for package in packages
        ]
        return cls(
            VolumeArgs(name=_VOLUME, projected=ProjectedVolumeSourceArgs(sources=sources)),
            VolumeMountArgs(name=_VOLUME, mount_path=_FOLDER, read_only=True),
            EnvVarArgs(
                name="PYTHONPATH",
                value=":".join(f"{_FOLDER}/{package.archive}" for package in packages),
            ),
        )
