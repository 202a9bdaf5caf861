"""What a stack's prediction service answers with: the version of its last whole roll-out.

A ConfigMap that the stack writes when a roll-out has ended well: the Deployment may have been told
to serve a version that never got Ready. A contract (docs/contracts.md): the agent reads it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from . import api, names
from .clusters import Cluster

_MODEL_NAME = re.compile(r"--target_dir=.*/([^/]+)")
_MODEL_VERSION = re.compile(r"--model_version=(\d+)")


@dataclass(frozen=True, order=True)
class Served:
    """A version of a model that is served."""

    model_name: str
    version: int

    def __str__(self) -> str:
        return f"version {self.version} of the model '{self.model_name}'"


def write(model_name: str, version: pulumi.Input[int]) -> dict[str, pulumi.Input[str]]:
    """Return the ConfigMap's data."""
    return {"model": model_name, "version": pulumi.Output.from_input(version).apply(str)}


def find(cluster: Cluster, namespace: str) -> Served | None:
    """Return what a namespace's prediction service answers with; None: there is none."""
    document = api.get(cluster, f"/api/v1/namespaces/{namespace}/configmaps/{names.SERVED}")
    if document is not None:
        data = document["data"]
        return Served(data["model"], int(data["version"]))
    # Of an earlier dlstack, or its first roll-out is under way.
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{names.PREDICTION}"
    deployment = api.get(cluster, path)
    if deployment is None or not deployment.get("status", {}).get("readyReplicas"):
        return None
    return of_template(deployment["spec"]["template"])


def of_template(template: Mapping[str, Any]) -> Served | None:
    """Return what a prediction pod, or a template of one, copies before it serves."""
    for container in template.get("spec", {}).get("initContainers", []):
        words = container.get("command", [])
        name, version = (
            next(filter(None, map(pattern.fullmatch, words)), None)
            for pattern in (_MODEL_NAME, _MODEL_VERSION)
        )
        if name and version:
            return Served(name[1], int(version[1]))
    return None
