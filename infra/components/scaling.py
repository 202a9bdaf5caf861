"""How many pods of a Deployment there are: while its load changes, and while nodes are emptied."""

import pulumi
from pulumi_kubernetes.autoscaling.v2 import (
    ContainerResourceMetricSourceArgs,
    CrossVersionObjectReferenceArgs,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpecArgs,
    MetricSpecArgs,
    MetricTargetArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget, PodDisruptionBudgetSpecArgs

from ..cluster import names
from ..cluster.scale import Scale


def declare(
    name: str,
    *,
    namespace: pulumi.Input[str],
    instance: str,
    scale: Scale,
    container: str,
    opts: pulumi.ResourceOptions,
) -> HorizontalPodAutoscaler | None:
    """Declare what makes more and fewer pods of a Deployment, and what keeps enough of them.

    Returned is the first of the two, if there is one.

    Args:
        name: of the Deployment, and of these.
        namespace: of all.
        instance: value of the label `app.kubernetes.io/instance`.
        scale: a fixed number has no autoscaler, and a lone pod no budget: its node could never be
            emptied.
        container: whose load counts. Of all of a pod's containers, one that is injected and
            reserves nothing would end all scaling.
        opts: resource options.
    """
    metadata = ObjectMetaArgs(name=name, namespace=namespace, labels=names.labels(name, instance))
    if scale.least > 1:
        PodDisruptionBudget(
            f"{name}-budget",
            metadata=metadata,
            spec=PodDisruptionBudgetSpecArgs(
                max_unavailable=1,
                selector=LabelSelectorArgs(match_labels=names.selector(name, instance)),
                # A pod that does not answer loses nothing by going.
                unhealthy_pod_eviction_policy="AlwaysAllow",
            ),
            opts=opts,
        )
    if scale.most is None:
        return None
    return HorizontalPodAutoscaler(
        f"{name}-autoscaler",
        metadata=metadata,
        spec=HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=CrossVersionObjectReferenceArgs(
                api_version="apps/v1", kind="Deployment", name=name
            ),
            min_replicas=scale.least,
            max_replicas=scale.most,
            metrics=[
                MetricSpecArgs(
                    type="ContainerResource",
                    container_resource=ContainerResourceMetricSourceArgs(
                        name="cpu",
                        container=container,
                        target=MetricTargetArgs(
                            type="Utilization", average_utilization=scale.cpu_percent
                        ),
                    ),
                )
            ],
        ),
        opts=opts,
    )
