"""Where the stack's objects lie in the cluster."""

from collections.abc import Mapping

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..cluster.clusters import Cluster
from ..components.packages import Packages
from ..resources.identity import Identity
from ..resources.package import Package
from ..run import packages
from ..settings.settings import Settings
from . import kubernetes_provider


class Place:
    """The namespace, and what is the same for all that lies in it."""

    cluster: Cluster
    stack_id: pulumi.Output[str]
    """What marks all that is the stack's. Known in previews."""
    namespace: pulumi.Output[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`: it stays when the stack is renamed."""
    host: str
    """Address under which node ports are reached."""

    def __init__(self, settings: Settings, cluster: Cluster, host: str, problem: str) -> None:
        """Declare the namespace.

        Args:
            settings: of the stack.
            cluster: where it goes.
            host: see the attribute.
            problem: see `Identity`.
        """
        self.cluster, self.host = cluster, host
        self.instance = settings.namespace
        identity = Identity(
            "identity",
            stack=settings.stack,
            stack_id=settings.stack_id,
            cluster=cluster,
            namespace=settings.namespace,
            output_bucket=settings.output_bucket,
            in_stack=settings.store is None,
            force_destroy=settings.force_destroy,
            problem=problem,
        )
        self.stack_id = identity.stack_id
        kubernetes_provider.declare(cluster, after=identity)
        resource = Namespace(
            "namespace",
            metadata=ObjectMetaArgs(
                name=identity.namespace,
                labels={
                    **names.labels("namespace", self.instance),
                    **names.marks(settings.stack, self.stack_id),
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
