"""Where the stack's objects lie in the cluster."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..cluster.clusters import Cluster
from ..components import network_policies
from ..components.packages import Packages
from ..components.scraping import Scraping
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
    surge: bool
    """Whether the nodes have room for one pod more of the prediction service."""
    scraping: Scraping | None
    """How Prometheus finds the numbers of pods; None: they show none."""

    def __init__(
        self, settings: Settings, cluster: Cluster, host: str, problem: str, *, surge: bool
    ) -> None:
        """Declare the namespace, unless it is given.

        Args:
            settings: of the stack.
            cluster: where it goes.
            host: see the attribute.
            problem: see `Identity`.
            surge: see the attribute.
        """
        self.cluster, self.host, self.surge = cluster, host, surge
        self.instance = settings.namespace
        self.scraping = None
        if settings.metrics != "off":
            self.scraping = Scraping(annotated=settings.metrics == "annotations")
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
        namespace = (
            self._made(settings, identity) if settings.creates_namespace else identity.namespace
        )
        self.namespace = self._guarded(settings, namespace)
        self._store = self.package("store", packages.read("store"))

    def _made(self, settings: Settings, identity: Identity) -> pulumi.Output[str]:
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
        return resource.metadata.apply(lambda metadata: str(metadata.name))

    def _guarded(self, settings: Settings, namespace: pulumi.Output[str]) -> pulumi.Output[str]:
        """Declare who may talk to whom there; return the namespace, known when that is said."""
        if not settings.network_policies:
            return namespace
        locked = settings.access is not None and settings.access.locks_pods
        policies = network_policies.declare(
            namespace, self.instance, in_stack=settings.store is None, locked=locked
        )
        # There before the pods, and until they are gone: a training that is ended uploads its log.
        said = [policy.metadata.apply(lambda metadata: metadata.name) for policy in policies]
        return pulumi.Output.all(namespace, *said).apply(lambda known: str(known[0]))

    def package(self, name: str, files: Mapping[str, str]) -> Package:
        """Declare the package `name`."""
        return Package(name, **self._of(name, files))

    def checker(self, how: Mapping[str, object], after: pulumi.Resource) -> Package:
        """Declare what models are tried with before they are published.

        Its ConfigMap is changed in place: a Job that mounts it is the same Job.

        Args:
            how: goes beside it, as `model-check.json`.
            after: what may refuse the training.
        """
        return Package(
            names.MODEL_CHECK,
            **self._of("serving", packages.read("serving")),
            config_map=names.MODEL_CHECK,
            beside={f"{names.MODEL_CHECK}.json": json.dumps(how, sort_keys=True)},
            opts=pulumi.ResourceOptions(depends_on=[after]),
        )

    def packages(self, package: Package, *beside: Package) -> Packages:
        """Return a package with `store`, which it imports; `beside`: in the same volume."""
        return Packages.of(package, self._store, beside=beside)

    def _of(self, name: str, files: Mapping[str, str]) -> dict[str, Any]:
        return {
            "package": name,
            "files": files,
            "cluster": self.cluster,
            "namespace": self.namespace,
            "labels": names.labels(name, self.instance),
        }
