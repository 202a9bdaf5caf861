"""A Python package in the cluster: an archive in a ConfigMap. Its path is part of stacks' state.

With Kubernetes' own resource the archive would be in the state, four times with old plugins, and
the whole state is written after each step of an `up`. This one keeps the checksums of the files, by
which a preview says which of them changed.
"""

import base64
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from ..cluster import api
from ..run import packages
from .provider import Provider, changed, inputs_of

_INPUTS = ("context", "namespace", "package", "labels", "files")


class _PackageProvider(Provider):
    may_be_empty = frozenset({"context"})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # What a preview does not know yet is not another one.
        known = [key for key in _INPUTS if not isinstance(news.get(key), pulumi.output.Unknown)]
        replaces = changed(olds, news, *known)
        return DiffResult(changes=bool(replaces), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        package = props["package"]
        files = {path.removeprefix(f"{package}/"): sha for path, sha in props["files"].items()}
        content = packages.archive(package, files)
        made = api.create(
            props["context"],
            _collection(props),
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                # Each has a name of its own, so the one before can be deleted after it, whatever
                # is replaced: the files, or only the way to the same cluster.
                "metadata": {"generateName": f"{package}-", "labels": props["labels"]},
                "immutable": True,
                "binaryData": {_archive(package): base64.b64encode(content).decode()},
            },
        )
        name = str(made["metadata"]["name"])
        return CreateResult(
            f"{props['namespace']}/{name}", {**inputs_of(props), "config_map": name}
        )

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        there = api.get(props["context"], _path(props))
        return ReadResult(id_ if there else "", inputs_of(props))

    def update(self, _id: str, olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        # Every change is a replacement: the ConfigMap is immutable.
        return UpdateResult(inputs_of(olds))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        api.delete(props["context"], _path(props))


def _archive(package: str) -> str:
    return f"{package}.zip"


def _collection(props: Mapping[str, Any]) -> str:
    return f"/api/v1/namespaces/{props['namespace']}/configmaps"


def _path(props: Mapping[str, Any]) -> str:
    return f"{_collection(props)}/{props['config_map']}"


class Package(Resource, module="packages", name="Package"):
    """A package that pods can import, from an immutable ConfigMap. Changed files make another."""

    archive: str
    """Name of the zip archive in the ConfigMap, and so in pods."""
    config_map: pulumi.Output[str]
    """Name of the ConfigMap, known once it is there."""

    def __init__(
        self,
        name: str,
        *,
        package: str,
        files: Mapping[str, str],
        context: str,
        namespace: pulumi.Input[str],
        labels: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a package.

        Args:
            name: logical name.
            package: name of the package, a folder of this checkout.
            files: relative path -> SHA-256, from `packages.read`.
            context: of the kubeconfig; empty for its current one.
            namespace: of the ConfigMap.
            labels: of the ConfigMap.
            opts: resource options.
        """
        props = {
            "package": package,
            # With the folder, as Pulumi keeps keys that start with '__' to itself (`__init__.py`).
            "files": {f"{package}/{path}": sha256 for path, sha256 in files.items()},
            "context": context,
            "namespace": namespace,
            "labels": dict(labels),
            "config_map": None,
        }
        super().__init__(_PackageProvider(), name, props, opts)
        self.archive = _archive(package)
