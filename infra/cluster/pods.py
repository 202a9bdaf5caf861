"""What the cluster's API tells of a pod, read from its JSON; nothing is asked here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import names

_MAIN = (names.TRAINING, names.SERVER)
"""Containers whose size a flavour decides. Others may stand before them: a mesh's proxy does."""


@dataclass(frozen=True)
class Container:
    """A container of a pod, in its present state."""

    name: str
    image: str
    is_main: bool
    """Whether a flavour decides its size."""
    started: bool
    """Whether it runs, or has ever run."""
    ready: bool
    restarts: int
    waiting: str
    """Why it is not running, such as `ErrImagePull`; empty if it is."""
    waiting_message: str
    failed: bool
    """Whether its last run ended by itself, and not well, without another one that is well."""
    exit_code: int
    """Of its last run."""
    end_reason: str
    """Of its last run, such as `OOMKilled`; empty for a plain error."""
    end_message: str
    """The end of its last run's log."""
    memory_limit: str


def containers(pod: Mapping[str, Any]) -> list[Container]:
    """Return the containers of `pod` that have a state yet, those that initialise it first."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    found = []
    for kind, states in (
        ("initContainers", "initContainerStatuses"),
        ("containers", "containerStatuses"),
    ):
        specs = {one["name"]: one for one in spec.get(kind, [])}
        for one in status.get(states, []):
            found.append(_container(one, specs.get(one["name"], {}), one["name"] in _MAIN))
    return found


def owned_by(one: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Say whether `owner` made `one`."""
    owners = one["metadata"].get("ownerReferences", [])
    return any(ref["uid"] == owner["metadata"]["uid"] for ref in owners)


def _container(status: Mapping[str, Any], spec: Mapping[str, Any], is_main: bool) -> Container:
    state = status.get("state", {})
    waiting = state.get("waiting", {})
    end = state.get("terminated") or status.get("lastState", {}).get("terminated") or {}
    limits = spec.get("resources", {}).get("limits") or {}
    return Container(
        name=status["name"],
        image=spec.get("image") or status.get("image", ""),
        is_main=is_main,
        started="running" in state or bool(end),
        ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount", 0)),
        waiting=str(waiting.get("reason", "")),
        waiting_message=str(waiting.get("message", "")),
        failed=bool(end.get("exitCode")),
        exit_code=int(end.get("exitCode", 0)),
        end_reason="" if end.get("reason") == "Error" else str(end.get("reason", "")),
        end_message=str(end.get("message", "")),
        memory_limit=str(limits.get("memory", "")),
    )
