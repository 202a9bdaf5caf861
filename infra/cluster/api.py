"""What the program asks the cluster itself: its nodes, a namespace, a Secret, a roll-out.

Raw GET requests with the kubeconfig's authentication: typed objects of a big cluster would
cost more than the rest of a `pulumi up` that changes nothing.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pulumi

from ..settings.flavours import GIB, Flavour, Taint
from ..settings.quantities import quantity

STACK_LABEL = "dlstack.dev/stack"
"""Label of a namespace: the stack that made it."""

_TIMEOUT_SECONDS = 10


class NoAnswer(pulumi.RunError):
    """The cluster can't be reached, or an answer broke off: trying again may help."""


@dataclass(frozen=True)
class Node:
    """A node that may take pods."""

    name: str
    cpu: float
    memory_gib: float
    resources: Mapping[str, str]
    """All that is allocatable, GPUs included."""
    addresses: Mapping[str, str]
    """Address type -> the first address of that type."""
    labels: Mapping[str, str]
    taints: Sequence[Taint]
    """Those that keep pods off."""

    def takes(self, flavour: Flavour) -> bool:
        """Say whether labels and taints let a pod of `flavour` run here."""
        return flavour.node_selector.items() <= self.labels.items() and all(
            any(toleration.covers(taint) for toleration in flavour.tolerations)
            for taint in self.taints
        )

    def holds(self, flavour: Flavour) -> int:
        """Return how many pods of `flavour` fit when nothing else runs here."""
        if not self.takes(flavour):
            return 0
        fit = [self.cpu // flavour.cpu, self.memory_gib // flavour.memory_gib]
        if flavour.gpus:
            fit.append(self.gpus(flavour) // flavour.gpus)
        return int(min(fit))

    def gpus(self, flavour: Flavour) -> int:
        """Return the number of GPUs of the kind that `flavour` asks for."""
        return int(self.resources.get(flavour.gpu_resource, "0"))


def nodes(context: str) -> list[Node]:
    """Return the nodes that may take pods, by name; those with taints come last."""
    document = get(context, "/api/v1/nodes") or {}
    found = [_node(i) for i in document.get("items", []) if not i["spec"].get("unschedulable")]
    if not found:
        raise pulumi.RunError(
            "The cluster has no node that takes pods. Add one, or wait until it is Ready "
            "('kubectl get nodes' shows them)."
        )
    return sorted(found, key=lambda node: (bool(node.taints), node.name))


def require_room(found: Sequence[Node], flavour: Flavour, key: str, pods: int = 1) -> None:
    """Raise unless the nodes hold `pods` of `flavour`: one would be pending for ever."""
    held = sum(node.holds(flavour) for node in found)
    if held >= pods:
        return
    if held:
        raise pulumi.RunError(
            f"dlstack:nodeCount is {pods}, but the nodes of the cluster hold no more than {held} "
            f"of {key} {flavour}. Set a lower nodeCount, choose a smaller flavour, or add nodes."
        )
    taking = [node for node in found if node.takes(flavour)]
    if not taking:
        wanted = ", ".join(f"{k}={v}" for k, v in flavour.node_selector.items()) or "none"
        raise pulumi.RunError(
            f"{key} {flavour} is taken by no node of the cluster: none has the labels that it "
            f"selects ({wanted}) and no taint that it doesn't tolerate. Correct its nodeSelector "
            "and tolerations in dlstack:flavours, or label a node."
        )
    biggest = max(taking, key=lambda node: (node.gpus(flavour), node.cpu, node.memory_gib))
    raise pulumi.RunError(
        f"{key} {flavour} fits on no node of the cluster. The biggest, '{biggest.name}', has "
        f"{biggest.cpu:g} cores, {biggest.memory_gib:.1f} GiB and {biggest.gpus(flavour)} GPU. "
        "Choose a smaller flavour, or add a node."
    )


def address(found: Sequence[Node]) -> str:
    """Return an address of a node under which its node ports can be reached."""
    for kind in ("ExternalIP", "InternalIP"):
        for node in found:
            if kind in node.addresses:
                return node.addresses[kind]
    raise pulumi.RunError("No node of the cluster has an address. Set dlstack:host.")


def require_own_namespace(context: str, namespace: str, stack: str) -> None:
    """Raise if `namespace` exists and isn't this stack's: `pulumi destroy` would delete it."""
    document = get(context, f"/api/v1/namespaces/{namespace}")
    if document is None:
        return
    owner = document["metadata"].get("labels", {}).get(STACK_LABEL)
    if owner != stack:
        whose = f"belongs to the stack '{owner}'" if owner else "was not made by this stack"
        raise pulumi.RunError(
            f"The namespace '{namespace}' exists and {whose}. "
            "Set dlstack:namespace to a name that is free."
        )


def get(context: str, path: str) -> dict[str, Any] | None:
    """Return the answer of the cluster's API to GET `path`; None if there is no such object."""
    with _opened(context, path) as answer:
        return None if answer.status == 404 else dict(json.loads(answer.data))


def watch(context: str, path: str, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield the objects of the collection `path` as they are now, and then as they change.

    Args:
        context: of the kubeconfig; empty for its current one.
        path: of the collection, with a query.
        seconds: the end of the watch.
    """
    for kind, changed in events(context, path, seconds):
        if kind in ("ADDED", "MODIFIED"):
            yield changed


def events(context: str, path: str, seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ADDED, MODIFIED or DELETED and the object, as `watch` does."""
    for line in lines(context, f"{path}&watch=true&timeoutSeconds={seconds}", seconds):
        event = json.loads(line)
        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            yield event["type"], event["object"]


def lines(context: str, path: str, seconds: int) -> Iterator[bytes]:
    """Yield the lines of the answer to GET `path` as they arrive, without their ends.

    Args:
        context: of the kubeconfig; empty for its current one.
        path: with its query.
        seconds: how long the answer may be silent, beyond what the network may take.

    Raises:
        NoAnswer: it was silent for longer, or broke off.
    """
    with _opened(context, path, seconds) as answer:
        if answer.status == 404:
            return
        rest = b""
        for chunk in answer.stream(65536):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest


@contextmanager
def _opened(context: str, path: str, seconds: int = 0) -> Iterator[Any]:
    """Send GET `path`; give the answer, of status 200 or 404, whose body was not read yet."""
    # 0.6 s, and the dynamic providers import this module without asking for anything.
    import urllib3
    from kubernetes import client, config

    configuration = client.Configuration()
    # More would only log the same refusal again before it is reported.
    configuration.retries = False
    kubeconfig = os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    try:
        # `load_config` doesn't know lists of files, and prints to stdout.
        if "KUBERNETES_SERVICE_HOST" in os.environ and not os.path.exists(kubeconfig):
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(kubeconfig, context or None, configuration)
    except (config.ConfigException, OSError) as exc:
        raise pulumi.RunError(
            f"No Kubernetes cluster is configured: {str(exc).rstrip('.')}. "
            "Set KUBECONFIG to a kubeconfig file, and kubernetes:context to one of its contexts."
        ) from exc
    with client.ApiClient(configuration) as api:
        try:
            answer = api.rest_client.pool_manager.request(
                "GET",
                configuration.host + path,
                headers=_headers(configuration),
                preload_content=False,
                timeout=urllib3.Timeout(connect=_TIMEOUT_SECONDS, read=_TIMEOUT_SECONDS + seconds),
            )
            try:
                if answer.status not in (200, 404):
                    raise _refused(configuration.host, path, answer.status, answer.reason)
                yield answer
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as exc:
            raise NoAnswer(
                f"No Kubernetes answers at '{configuration.host}': {_reason(exc)}. "
                "Start the cluster, or set KUBECONFIG to one that runs."
            ) from exc


def _headers(configuration: Any) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    for setting in configuration.auth_settings().values():
        headers[setting["key"]] = setting["value"]
    return headers


def _refused(host: str, path: str, status: int, reason: str) -> pulumi.RunError:
    if status >= 500:
        return NoAnswer(
            f"The cluster at '{host}' can't answer '{path}': {status} {reason}. Try again, or see "
            "how its nodes are ('kubectl get nodes')."
        )
    return pulumi.RunError(
        f"The cluster at '{host}' refuses '{path}': {status} {reason}. "
        "Use a kubeconfig whose user may read nodes, namespaces and what is in the stack's."
    )


def _reason(exc: BaseException) -> str:
    """Return the last, most exact part of one of urllib3's nested messages."""
    return str(getattr(exc, "reason", None) or exc).rsplit(": ", 1)[-1].rstrip(".")


def _node(item: Mapping[str, Any]) -> Node:
    allocatable = item["status"]["allocatable"]
    addresses: dict[str, str] = {}
    for entry in item["status"].get("addresses", []):
        addresses.setdefault(entry["type"], entry["address"])
    return Node(
        name=item["metadata"]["name"],
        cpu=quantity(allocatable["cpu"]),
        memory_gib=quantity(allocatable["memory"]) / GIB,
        resources=allocatable,
        addresses=addresses,
        labels=item["metadata"].get("labels", {}),
        taints=[
            Taint(key=taint["key"], value=taint.get("value", ""), effect=taint["effect"])
            for taint in item["spec"].get("taints", [])
            if taint["effect"] != "PreferNoSchedule"
        ],
    )
