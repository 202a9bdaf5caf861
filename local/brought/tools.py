"""Clusters that kind, k3d or minikube made on this machine: which one, and an image put into it.

Each tool puts an archive of an image onto all nodes of a cluster, so it needs no registry.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..console import LocalError, step
from ..machine.processes import run_logged
from .kubeconfig import Context

_MINIKUBE = "minikube.sigs.k8s.io"
_PULL = "set RUNTIME_IMAGE to the name of an image that the cluster can pull"


@dataclass(frozen=True)
class Tool:
    """What is called with which words."""

    program: str
    site: str
    listing: Sequence[str]
    """Words that list the clusters."""
    names: Callable[[str], list[str]]
    """Reads that list."""
    load: Callable[[str, Path], Sequence[str | Path]]
    """Words that put an archive onto the nodes of the cluster of that name."""
    start: str
    """The command that starts a stopped cluster {name}."""


KIND = Tool(
    "kind",
    "https://kind.sigs.k8s.io",
    ("get", "clusters"),
    str.split,
    lambda name, archive: ("load", "image-archive", archive, "--name", name),
    "docker start {name}-control-plane",
)
K3D = Tool(
    "k3d",
    "https://k3d.io",
    ("cluster", "list", "--output", "json"),
    lambda listed: [cluster["name"] for cluster in json.loads(listed)],
    lambda name, archive: ("image", "import", archive, "--cluster", name),
    "k3d cluster start {name}",
)
MINIKUBE = Tool(
    "minikube",
    "https://minikube.sigs.k8s.io",
    ("profile", "list", "--output", "json"),
    lambda listed: [profile["Name"] for profile in json.loads(listed).get("valid") or ()],
    lambda name, archive: ("image", "load", archive, "--profile", name),
    "minikube start --profile {name}",
)


@dataclass(frozen=True)
class ToolCluster:
    """A cluster that a tool made."""

    tool: Tool
    name: str
    context: Context

    def __str__(self) -> str:
        return f"the cluster '{self.name}' of {self.tool.program}"

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes.

        Raises:
            LocalError: the cluster does not answer.
        """
        try:
            return list(self.context.get("/api/v1/nodes")["items"])
        except OSError as error:
            raise LocalError(
                f"{self} does not answer at {self.context.server} ({error}).",
                f"Start it: `{self.tool.start.format(name=self.name)}`.",
            ) from error

    def has(self, image: str) -> bool:
        """Whether every node that takes pods has the image.

        Raises:
            LocalError: the cluster does not answer.
        """
        nodes = [node for node in self.nodes() if not node["spec"].get("unschedulable")]
        return all(image in _image_names(node) for node in nodes)

    def check_tool(self) -> None:
        """Refuse what can't take an image.

        Raises:
            LocalError: the tool is not on PATH, or knows of no such cluster.
        """
        program = self.tool.program
        if shutil.which(program) is None:
            raise LocalError(
                f"{self} gets its image by `{program}`, which is not on PATH.",
                f"Put it there ({self.tool.site}), or {_PULL}.",
            )
        words = [program, *self.tool.listing]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        try:
            names = self.tool.names(done.stdout)
        except ValueError:
            names = []
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise LocalError(f"`{' '.join(words)}` failed: {said}", f"Put that right, or {_PULL}.")
        if self.name not in names:
            raise LocalError(
                f"the context '{self.context.name}' is of {self}, which `{' '.join(words)}` does "
                f"not list (it lists: {', '.join(names) or 'none'}).",
                f"Choose another context by DLSTACK_CONTEXT, or {_PULL}.",
            )

    def load(self, image: str, archive: Path, log: Path) -> None:
        """Put the image onto all nodes.

        Raises:
            LocalError: the tool failed.
        """
        with step(f"load {image} into {self}"):
            run_logged([self.tool.program, *self.tool.load(self.name, archive)], log)


def recognise(context: Context) -> ToolCluster | None:
    """The tool's cluster that a context leads to; None: made by something else.

    kind and k3d name its entry after themselves, minikube leaves a mark in it. Where somebody has
    given it another name, the nodes tell.
    """
    marks = [
        str((mark.get("extension") or {}).get("provider"))
        for mark in context.cluster.get("extensions") or ()
    ]
    if _MINIKUBE in marks:
        return ToolCluster(MINIKUBE, context.cluster_name, context)
    for tool in (KIND, K3D):
        if context.cluster_name.startswith(f"{tool.program}-"):
            name = context.cluster_name.removeprefix(f"{tool.program}-")
            return ToolCluster(tool, name, context)
    if "exec" in context.user:  # A cloud's, and its program may take long, or ask for a password.
        return None
    try:
        nodes = context.get("/api/v1/nodes")["items"]
    except OSError:
        return None
    for node in nodes:
        if found := _maker(node):
            return ToolCluster(*found, context)
    return None


def _maker(node: Mapping[str, Any]) -> tuple[Tool, str] | None:
    """The tool that made a node, and the name of its cluster."""
    provider = str(node["spec"].get("providerID", ""))
    if found := re.match(r"kind://[^/]+/([^/]+)/", provider):
        return KIND, found.group(1)
    if found := re.match(r"k3s://k3d-(.+)-(?:server|agent)-\d+$", provider):
        return K3D, found.group(1)
    labels = node["metadata"].get("labels") or {}
    if profile := labels.get("minikube.k8s.io/name"):
        return MINIKUBE, profile
    return None


def _image_names(node: Mapping[str, Any]) -> set[str]:
    images = node["status"].get("images") or ()
    return {name for image in images for name in image.get("names") or ()}
