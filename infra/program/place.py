"""Where the stack's objects lie in the cluster."""

from collections.abc import Mapping

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..cluster.clusters import Cluster
from ..components.packages import Packages
from ..resources.package import Package
from ..run import packages
from ..settings.settings import Settings
from . import kubernetes_provider


class Place:
    """The namespace, and what is the same for all that lies in it."""

    cluster: Cluster
    namespace: pulumi.Output[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    stack_id: pulumi.Input[str]
    """Tells this stack from all others."""
    host: str
    """Address under which node ports are reached."""

    def __init__(self, settings: Settings, cluster: Cluster, host: str) -> None:
        self.cluster, self.host = cluster, host
        self.instance = self.stack_id = settings.stack
        kubernetes_provider.declare(cluster)
        resource = Namespace(
            "namespace",
            metadata=ObjectMetaArgs(
                name=settings.namespace,
                labels={
                    **names.labels("namespace", settings.stack),
                    names.STACK_LABEL: settings.stack,
                    "pod-security.kubernetes.io/enforce": "restricted",
                },
            ),
        )
        self.namespace = resource.metadata.apply(lambda metadata: str(metadata.name))
        self._store = self._package("store", packages.read("store"))

    def packages(self, name: str, files: Mapping[str, str]) -> Packages:
        """Declare the package `name`, and return it with `store`, which it imports."""
        return Packages.of(self._package(name, files), self._store)

    def _package(self, name: str, files: Mapping[str, str]) -> Package:
        return Package(
            name,
            package=name,
            files=files,
            cluster=self.cluster,
            namespace=self.namespace,
            labels=names.labels(name, self.instance),
        )
