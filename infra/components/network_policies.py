"""What the stack's pods may reach, and who reaches them: where all is denied that nobody allows.

Policies add up, and a pod that one of them names may do nothing else than they say. So these hold
on clusters that deny nothing by themselves, too: nobody but the stack's pods reaches its store.
"""

from collections.abc import Sequence

import pulumi
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import (
    NetworkPolicy,
    NetworkPolicyEgressRuleArgs,
    NetworkPolicyIngressRuleArgs,
    NetworkPolicyPeerArgs,
    NetworkPolicyPortArgs,
    NetworkPolicySpecArgs,
)

from ..cluster import names
from . import object_store, scraping, tensorboard
from .prediction_commands import GRPC_PORT, PAGE_PORT, REST_PORT

_DNS = (53, 5353)
"""Where name servers listen, the second on OpenShift."""
_NAME_SERVERS = {"k8s-app": "kube-dns"}
"""Of the pods of those of most clusters. What counts is the pod's own port, which may be any."""

_ANY = NetworkPolicyEgressRuleArgs()


def declare(
    namespace: pulumi.Input[str], instance: str, *, in_stack: bool, locked: bool
) -> Sequence[NetworkPolicy]:
    """Declare a policy for each component.

    Args:
        namespace: of the pods.
        instance: value of their label `app.kubernetes.io/instance`.
        in_stack: whether the object store is the stack's own; else it is anywhere.
        locked: whether the gateway answers REST for the server, whose own port knows no lock.
    """
    to_store = [_to(names.OBJECT_STORE, instance, object_store.PORT), *_to_name_servers()]
    if not in_stack:
        to_store = [_ANY]
    shown = {
        names.PREDICTION: (
            GRPC_PORT,
            *([] if locked else [REST_PORT]),
            *(PAGE_PORT, scraping.PORT),
        ),
        names.TENSORBOARD: (tensorboard.PORT,),
    }
    made = [
        _policy(name, namespace, instance, ingress=[_from_all(ports)], egress=to_store)
        for name, ports in shown.items()
    ]
    # Code of users: it may read what it likes. Its workers reach each other (`worker_discovery`).
    metrics = [_from_all([scraping.PORT])]
    made.append(_policy(names.TRAINING, namespace, instance, ingress=metrics, egress=[_ANY]))
    if in_stack:
        only = [_from_stack(instance, object_store.PORT)]
        made.append(_policy(names.OBJECT_STORE, namespace, instance, ingress=only, egress=[]))
    return made


def _policy(
    name: str,
    namespace: pulumi.Input[str],
    instance: str,
    *,
    ingress: Sequence[NetworkPolicyIngressRuleArgs],
    egress: Sequence[NetworkPolicyEgressRuleArgs],
) -> NetworkPolicy:
    return NetworkPolicy(
        f"{name}-traffic",
        metadata=ObjectMetaArgs(
            name=name, namespace=namespace, labels=names.labels(name, instance)
        ),
        spec=NetworkPolicySpecArgs(
            pod_selector=LabelSelectorArgs(match_labels=names.selector(name, instance)),
            policy_types=["Ingress", "Egress"],
            ingress=list(ingress),
            egress=list(egress),
        ),
    )


def _from_all(ports: Sequence[int]) -> NetworkPolicyIngressRuleArgs:
    return NetworkPolicyIngressRuleArgs(ports=[_port(port) for port in ports])


def _from_stack(instance: str, port: int) -> NetworkPolicyIngressRuleArgs:
    return NetworkPolicyIngressRuleArgs(
        from_=[NetworkPolicyPeerArgs(pod_selector=_all_of(instance))], ports=[_port(port)]
    )


def _to(name: str, instance: str, port: int) -> NetworkPolicyEgressRuleArgs:
    selector = LabelSelectorArgs(match_labels=names.selector(name, instance))
    return NetworkPolicyEgressRuleArgs(
        to=[NetworkPolicyPeerArgs(pod_selector=selector)], ports=[_port(port)]
    )


def _to_name_servers() -> list[NetworkPolicyEgressRuleArgs]:
    pods = NetworkPolicyPeerArgs(
        namespace_selector=LabelSelectorArgs(),
        pod_selector=LabelSelectorArgs(match_labels=_NAME_SERVERS),
    )
    ports = [_port(port, protocol) for port in _DNS for protocol in ("UDP", "TCP")]
    return [NetworkPolicyEgressRuleArgs(to=[pods]), NetworkPolicyEgressRuleArgs(ports=ports)]


def _port(port: int, protocol: str = "TCP") -> NetworkPolicyPortArgs:
    return NetworkPolicyPortArgs(port=port, protocol=protocol)


def _all_of(instance: str) -> LabelSelectorArgs:
    labels = names.labels("", instance)
    keys = ("app.kubernetes.io/instance", names.PART_OF_LABEL)
    return LabelSelectorArgs(match_labels={key: labels[key] for key in keys})
