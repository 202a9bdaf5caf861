"""Pods that were told to end on a node that is lost, and so never say that they have ended.

Kubernetes takes their place only when they have: it can't know whether they still run. Where a
cloud removes the node it does this by itself; elsewhere somebody has to say that they are gone.
That may be done for a training: should its old pod run on, cut off, both write checkpoints of the
same run, each of them whole.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from . import api
from .clusters import Cluster

_LATE_SECONDS = 10
"""How much longer than its grace a pod may take to end, where nobody may see its node, or that node
answers and is not Ready."""


class LostPods:
    """The pods of a namespace that wait for a node which does not answer."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        """Begin to look at the pods of a namespace."""
        self._cluster = cluster
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._seen: dict[str, float] = {}
        """UID of a pod that is told to end -> when that was first seen."""
        self._kept: set[str] = set()
        """UIDs of those that nobody may give up."""

    def give_up(self, pods: Iterable[Mapping[str, Any]]) -> list[str]:
        """Tell the cluster which of `pods` have ended; return a sentence about each of these.

        One that the kubeconfig's user may not give up has a sentence as well, once.
        """
        said = []
        for pod in pods:
            lost = self._lost(pod)
            if lost is None or (uid := pod["metadata"]["uid"]) in self._kept:
                continue
            try:
                self._end(pod)
                said.append(f"{lost}. The pod '{pod['metadata']['name']}' is given up.")
            except api.Forbidden:
                self._kept.add(uid)
                said.append(
                    f"{lost}, and the kubeconfig's user may not give its pod up: that is 'patch' "
                    f"of 'pods/status'. 'kubectl delete node {pod['spec']['nodeName']}' does it, "
                    "too, if the node is not to come back."
                )
        return said

    def _lost(self, pod: Mapping[str, Any]) -> str | None:
        """Return how a pod that is told to end was lost; None if it may end by itself."""
        metadata, phase = pod["metadata"], pod.get("status", {}).get("phase")
        if not metadata.get("deletionTimestamp") or phase in ("Succeeded", "Failed"):
            return None
        # Only a pod that has one waits for it.
        node = pod["spec"]["nodeName"]
        seen = self._seen.setdefault(metadata["uid"], time.monotonic())
        try:
            found = api.get(self._cluster, f"/api/v1/nodes/{node}")
        except api.Forbidden:
            pass
        else:
            if found is None:
                return f"the node '{node}' is gone"
            ready = _ready(found)
            if ready == "Unknown":
                return f"the node '{node}' does not answer"
            if ready == "True":
                # Its kubelet ends the pod, however long that takes where there is much to do.
                return None
        grace = int(metadata.get("deletionGracePeriodSeconds") or 0)
        if time.monotonic() - seen > grace + _LATE_SECONDS:
            return f"its pod on the node '{node}' did not end in time"
        return None

    def _end(self, pod: Mapping[str, Any]) -> None:
        """Do what Kubernetes' garbage collector does for a node that is out of service."""
        path = f"{self._pods}/{pod['metadata']['name']}"
        conditions = [
            one
            for one in pod.get("status", {}).get("conditions") or []
            if one["type"] != "DisruptionTarget"
        ]
        # By this condition it does not count against `dlstack:retries`.
        lost = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "NodeLost",
            "message": "dlstack: the node does not answer",
        }
        api.patch(
            self._cluster,
            f"{path}/status",
            {"status": {"phase": "Failed", "conditions": [*conditions, lost]}},
        )
        api.delete(self._cluster, f"{path}?gracePeriodSeconds=0")


def _ready(node: Mapping[str, Any]) -> str:
    """Return whether a node is Ready: `True`, `False`, or `Unknown` if it is silent for a while."""
    for one in node.get("status", {}).get("conditions") or []:
        if one["type"] == "Ready":
            return str(one["status"])
    return ""
