"""A Python package in the cluster: an archive in a ConfigMap. Its path is part of stacks' state.

With Kubernetes' own resource the archive would be in the state twice, and the whole state is
written after each step of an `up`. This one keeps the checksums of the files, by which a preview
says which of them changed.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from ..cluster import api
from ..cluster.clusters import Cluster
from ..run import packages
from .provider import Provider, changed, inputs_of


class _PackageProvider(Provider):
    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # The name changes with the files, and so does the preview that shows which.
        replaces = changed(olds, news, "namespace", "config_map")
        changes = replaces or changed(olds, news, "cluster", "labels", "files", "beside")
        return DiffResult(changes=bool(changes), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        document = _document(props)
        if not api.create(props["cluster"], _collection(props), document):
            # Of an `up` that was killed before it could note it down. The name says what is in it.
            there = api.get(props["cluster"], _path(props)) or {}
            if not there.get("immutable"):
                api.delete(props["cluster"], _path(props))
                api.create(props["cluster"], _collection(props), document)
        return CreateResult(f"{props['namespace']}/{props['config_map']}", inputs_of(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        there = api.get(props["cluster"], _path(props))
        return ReadResult(id_ if there else "", inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        document = _document(news)
        parts = ("metadata",) if document.get("immutable") else ("metadata", "data", "binaryData")
        api.patch(news["cluster"], _path(news), {part: document[part] for part in parts})
        return UpdateResult(inputs_of(news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        api.delete(props["cluster"], _path(props))


def _document(props: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ConfigMap."""
    package, name = props["package"], props["config_map"]
    files = {path.removeprefix(f"{package}/"): sha for path, sha in props["files"].items()}
    content = packages.archive(package, files)
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": props["labels"]},
        "binaryData": {_archive(package): base64.b64encode(content).decode()},
    }
    if props.get("beside") is None:
        return {**document, "immutable": True}
    return {**document, "data": props["beside"]}


def _archive(package: str) -> str:
    return f"{package}.zip"


def _name(package: str, files: Mapping[str, str]) -> str:
    """Return a name that says what is in the ConfigMap: what is there already is the same."""
    content = json.dumps([package, sorted(files.items())])
    return f"{package}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _collection(props: Mapping[str, Any]) -> str:
    return f"/api/v1/namespaces/{props['namespace']}/configmaps"


def _path(props: Mapping[str, Any]) -> str:
    return f"{_collection(props)}/{props['config_map']}"


class Package(Resource, module="packages", name="Package"):
    """A package that pods can import, from an immutable ConfigMap. Changed files make another.

    With a name of its own the ConfigMap is changed in place: whoever mounts it stays as it is.
    """

    archive: str
    """Name of the zip archive in the ConfigMap, and so in pods."""
    config_map: pulumi.Output[str]
    """Name of the ConfigMap."""

    def __init__(
        self,
        name: str,
        *,
        package: str,
        files: Mapping[str, str],
        cluster: Cluster,
        namespace: pulumi.Input[str],
        labels: Mapping[str, str],
        config_map: str = "",
        beside: Mapping[str, str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a package.

        Args:
            name: logical name.
            package: name of the package, a folder of this checkout.
            files: relative path -> SHA-256, from `packages.read`.
            cluster: where it goes.
            namespace: of the ConfigMap.
            labels: of the ConfigMap.
            config_map: its name, if it is to stay the same when files change.
            beside: with such a name: file name -> text, of what else is in it.
            opts: resource options.
        """
        props = {
            "package": package,
            # With the folder, as Pulumi keeps keys that start with '__' to itself (`__init__.py`).
            "files": {f"{package}/{path}": sha256 for path, sha256 in files.items()},
            "cluster": cluster,
            "namespace": namespace,
            "labels": dict(labels),
            "config_map": config_map or _name(package, files),
            **({"beside": dict(beside or {})} if config_map else {}),
        }
        super().__init__(_PackageProvider(), name, props, opts)
        self.archive = _archive(package)
