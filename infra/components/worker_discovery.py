"""What the pods of a training run on several nodes need to find each other, and nobody else."""

import pulumi
from pulumi_kubernetes.core.v1 import Service, ServicePortArgs, ServiceSpecArgs
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import (
    NetworkPolicy,
    NetworkPolicyIngressRuleArgs,
    NetworkPolicyPeerArgs,
    NetworkPolicyPortArgs,
    NetworkPolicySpecArgs,
)

from ..cluster import names
from . import scraping

PORT = 2223
"""Where worker 0's agent listens for the others; 2222 is the usual one of TensorFlow itself."""


def declare(
    name: str, namespace: pulumi.Input[str], instance: str, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """Declare a headless Service in which the pods have names; return its own name.

    Args:
        name: of the pods' component.
        namespace: of the pods.
        instance: value of the pods' label `app.kubernetes.io/instance`.
        parent: of what is declared.
    """
    child = pulumi.ResourceOptions(parent=parent)
    selector = names.selector(name, instance)
    NetworkPolicy(
        f"{name}-workers-only",
        metadata=ObjectMetaArgs(
            name=names.WORKERS, namespace=namespace, labels=names.labels(name, instance)
        ),
        # TensorFlow's workers do what anybody asks them to who reaches their ports.
        spec=NetworkPolicySpecArgs(
            pod_selector=LabelSelectorArgs(match_labels=selector),
            policy_types=["Ingress"],
            ingress=[
                NetworkPolicyIngressRuleArgs(
                    from_=[
                        NetworkPolicyPeerArgs(pod_selector=LabelSelectorArgs(match_labels=selector))
                    ]
                ),
                # Prometheus, wherever it is: the port only tells numbers.
                NetworkPolicyIngressRuleArgs(ports=[NetworkPolicyPortArgs(port=scraping.PORT)]),
            ],
        ),
        opts=child,
    )
    service = Service(
        f"{name}-workers",
        metadata=ObjectMetaArgs(
            name=names.WORKERS,
            namespace=namespace,
            labels=names.labels(name, instance),
            # It has pods only while a Job runs.
            annotations={"pulumi.com/skipAwait": "true"},
        ),
        spec=ServiceSpecArgs(
            cluster_ip="None",
            selector=selector,
            # They look for each other before any of them is ready.
            publish_not_ready_addresses=True,
            ports=[ServicePortArgs(name="agent", port=PORT)],
        ),
        opts=child,
    )
    return service.metadata.apply(lambda metadata: str(metadata.name))
