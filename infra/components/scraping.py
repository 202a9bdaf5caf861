"""How Prometheus finds the numbers of the stack's pods: a port, and who tells it of that.

With the Prometheus operator a PodMonitor does, else annotations that most configurations of
Prometheus go by.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from ..cluster import names

PORT = 9090
PATH = "/metrics"
GROUP, VERSION, KIND = "monitoring.coreos.com", "v1", "PodMonitor"
"""Of the Prometheus operator."""

_NAME = "metrics"


@dataclass(frozen=True)
class Scraping:
    """What a pod with numbers has."""

    annotated: bool
    """Whether annotations tell of its port."""

    @property
    def flags(self) -> list[str]:
        """Of the process that answers."""
        return [f"--metrics_port={PORT}"]

    @property
    def ports(self) -> dict[str, int]:
        """Of its container."""
        return {_NAME: PORT}

    @property
    def annotations(self) -> dict[str, str]:
        """Of its pod."""
        if not self.annotated:
            return {}
        asked = {"scrape": "true", "port": str(PORT), "path": PATH}
        return {f"prometheus.io/{name}": value for name, value in asked.items()}


def declare_monitor(
    namespace: pulumi.Input[str], instance: str, labels: Mapping[str, str]
) -> pulumi.Resource:
    """Declare what tells the Prometheus operator of all pods that have such a port.

    Args:
        namespace: of the pods.
        instance: value of their label `app.kubernetes.io/instance`.
        labels: by which an operator chooses what it looks at.
    """
    # Most stacks need no kinds but Kubernetes' own.
    from pulumi_kubernetes.apiextensions import CustomResource
    from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

    return CustomResource(
        "pod-monitor",
        api_version=f"{GROUP}/{VERSION}",
        kind=KIND,
        metadata=ObjectMetaArgs(
            name=names.MONITOR,
            namespace=namespace,
            labels={**labels, **names.labels(names.MONITOR, instance)},
        ),
        spec={
            "selector": {"matchLabels": {"app.kubernetes.io/instance": instance}},
            "podMetricsEndpoints": [{"port": _NAME, "path": PATH}],
            "podTargetLabels": ["app.kubernetes.io/name", "app.kubernetes.io/instance"],
        },
    )
