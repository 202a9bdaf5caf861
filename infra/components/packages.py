"""The packages `training` and `serving` as ConfigMaps: pods run this checkout, not an image's copy.

Only their files are read; nothing of them is imported.
"""

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapProjectionArgs,
    KeyToPathArgs,
    ProjectedVolumeSourceArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeProjectionArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..run import checksums

ROOT = "/opt/dlstack"
"""Where pods find the packages: first on PYTHONPATH."""

REPOSITORY = Path(__file__).parents[2]

_MAX_BYTES = 200 * 1024
"""Of one ConfigMap's files, as JSON. Kubernetes takes objects of 1 MiB, but `kubectl apply` and
Pulumi without server-side apply repeat an object in an annotation, and those of 256 KiB."""


@dataclass(frozen=True)
class Files:
    """A Python package's files."""

    name: str
    checksums: Mapping[str, str]
    """Relative path -> SHA-256."""
    texts: Mapping[str, str]
    """Relative path -> content."""
    binaries: Mapping[str, str]
    """Relative path -> content in base64, of files that are not UTF-8."""

    def parts(self) -> "list[Files]":
        """Return the files in as many parts as they need, each for one ConfigMap, by path."""
        parts: list[list[str]] = [[]]
        room = _MAX_BYTES
        for path in sorted(self.checksums):
            size = self._size(path)
            if size > room and parts[-1]:
                parts.append([])
                room = _MAX_BYTES
            parts[-1].append(path)
            room -= size
        return [
            Files(
                self.name,
                *(
                    {path: whole[path] for path in part if path in whole}
                    for whole in (self.checksums, self.texts, self.binaries)
                ),
            )
            for part in parts
        ]

    def _size(self, path: str) -> int:
        """Return the bytes of a file in a ConfigMap."""
        return len(json.dumps(self.texts.get(path) or self.binaries.get(path, ""))) + len(path) + 64


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
    files = Files(name, sums, texts, binaries)
    for file in sums:
        if (size := files._size(file)) > _MAX_BYTES:
            raise pulumi.RunError(
                f"The file '{path / file}' takes {size:,} bytes, but a ConfigMap has room for "
                f"{_MAX_BYTES:,}. Make it smaller, or move it out of the package."
            )
    return files


class Package(pulumi.ComponentResource):
    """A package in the cluster. Changed files make new ConfigMaps, so pods roll."""

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
        sources = []
        for number, part in enumerate(files.parts(), start=1):
            config_map = ConfigMap(
                f"{name}-files" + (f"-{number}" if number > 1 else ""),
                metadata=ObjectMetaArgs(namespace=namespace, labels=names.labels(name, instance)),
                data={_key(files.name, file): text for file, text in part.texts.items()} or None,
                binary_data={_key(files.name, file): text for file, text in part.binaries.items()}
                or None,
                immutable=True,
                opts=pulumi.ResourceOptions(parent=self),
            )
            items = [
                KeyToPathArgs(key=_key(files.name, file), path=file) for file in part.checksums
            ]
            sources.append(
                VolumeProjectionArgs(
                    config_map=ConfigMapProjectionArgs(name=config_map.metadata.name, items=items)
                )
            )
        self.volume = VolumeArgs(
            name=f"package-{name}", projected=ProjectedVolumeSourceArgs(sources=sources)
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
