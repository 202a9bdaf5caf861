"""The packages `training` and `serving` as ConfigMaps: pods run this checkout, not an image's copy.

Only their files are read; nothing of them is imported.
"""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    KeyToPathArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from . import checksums, names

ROOT = "/opt/dlstack"
"""Where pods find the packages: first on PYTHONPATH."""

REPOSITORY = Path(__file__).parent.parent

_MAX_BYTES = 960 * 1024
"""Kubernetes takes objects of 1 MiB; the rest is for metadata, keys and base64."""


@dataclass(frozen=True)
class Files:
    """A Python package's files."""

    name: str
    checksums: Mapping[str, str]
    """Relative path -> SHA-256."""
    texts: Mapping[str, str]
    """Relative path -> content."""
    binaries: Mapping[str, str]
    """Relative path -> content in base64, of files that are no UTF-8."""


def read(name: str, *, without: Collection[str] = ()) -> Files:
    """Read the package `name`, except its folders `without`."""
    path = REPOSITORY / name
    sums, texts, binaries = {}, {}, {}
    for file, sha256 in checksums.folder(path, name).items():
        if file.partition("/")[0] in without:
            continue
        sums[file] = sha256
        content = (path / file).read_bytes()
        try:
            texts[file] = content.decode()
        except UnicodeDecodeError:
            binaries[file] = base64.b64encode(content).decode()
    size = sum(len(text.encode()) for text in (*texts.values(), *binaries.values()))
    if size > _MAX_BYTES:
        raise pulumi.RunError(
            f"The package '{path}' has {size:,} bytes, but a ConfigMap holds {_MAX_BYTES:,}. "
            "Move what pods don't need out of it."
        )
    return Files(name, sums, texts, binaries)


class Package(pulumi.ComponentResource):
    """A package in the cluster. Changed files make a new ConfigMap, so pods roll."""

    volume: VolumeArgs
    mount: VolumeMountArgs

    def __init__(
        self,
        name: str,
        files: Files,
        *,
        namespace: pulumi.Input[str],
        instance: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("dlstack:packages:Package", name, None, opts)
        config_map = ConfigMap(
            f"{name}-files",
            metadata=ObjectMetaArgs(namespace=namespace, labels=names.labels(name, instance)),
            data={_key(files.name, file): text for file, text in files.texts.items()},
            binary_data={_key(files.name, file): text for file, text in files.binaries.items()}
            or None,
            immutable=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.volume = VolumeArgs(
            name=f"package-{name}",
            config_map=ConfigMapVolumeSourceArgs(
                name=config_map.metadata.name,
                items=[
                    KeyToPathArgs(key=_key(files.name, file), path=file) for file in files.checksums
                ],
            ),
        )
        self.mount = VolumeMountArgs(
            name=f"package-{name}", mount_path=f"{ROOT}/{files.name}", read_only=True
        )
        self.register_outputs({})


def _key(package: str, file: str) -> str:
    """Return the ConfigMap key of a file.

    No '/' is allowed in one, and Pulumi keeps those that start with '__' to itself (`__init__.py`).
    """
    return f"{package}--{file.replace('/', '--')}"
