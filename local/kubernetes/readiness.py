"""When a process of the cluster is ready, and why one is not."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from .. import disk
from ..console import LocalError
from ..machine.processes import Daemon, tail
from . import memory
from .api_server import ApiServer
from .configuration import PORTS
from .nodes import Node

READY_SECONDS = 120
_POLL_SECONDS = 0.1


def wait_for(daemon: Daemon, is_ready: Callable[[], bool], needed: Sequence[Daemon] = ()) -> None:
    """Wait until a process is ready.

    Args:
        needed: processes without which it never is.

    Raises:
        LocalError: one ended, or it was not ready in READY_SECONDS.
    """
    until = time.monotonic() + READY_SECONDS
    while not is_ready():
        for one in (*needed, daemon):
            if one.pid() is None:
                raise _failure(one)
        if time.monotonic() > until:
            raise _failure(daemon)
        time.sleep(_POLL_SECONDS)


def answers(node: Node, name: str) -> bool:
    """Whether a process of Kubernetes listens on its port at a node's address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((str(node.address), PORTS[name])) == 0


def is_ready(api: ApiServer, node: Node, kubelet: Daemon) -> bool:
    """Whether the kubelet that runs now is ready; what an earlier one said stays in etcd."""
    answer = api.get(f"/api/v1/nodes/{node.name}")
    if answer is None or not answers(node, "kubelet"):
        return False
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and datetime.fromisoformat(condition["lastHeartbeatTime"]).timestamp()
        >= int(kubelet.started())
        for condition in json.loads(answer)["status"].get("conditions", [])
    )


def _failure(daemon: Daemon) -> LocalError:
    """Why a process is not ready, in the words of who can put it right."""
    said, ended = daemon.log.read_text(errors="replace"), daemon.pid() is None
    data = daemon.folder / daemon.name
    if ended and (full := disk.full(said, data if data.exists() else daemon.folder)):
        return full
    if ended and daemon.name == "etcd" and (damaged := memory.damage(daemon.folder, said)):
        return damaged
    state = "ended" if ended else f"is not ready after {READY_SECONDS} s"
    return LocalError(
        f"{daemon.name} {state}.", f"Its log is {daemon.log} and ends with:\n{tail(daemon.log)}"
    )
