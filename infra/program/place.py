"""Where the stack's objects lie in the cluster."""

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..components import packages
from ..settings.settings import Settings


class Place:
    """The namespace, and what is the same for all that lies in it."""

    namespace: pulumi.Output[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    host: str
    """Address under which node ports are reached."""

    def __init__(self, settings: Settings, host: str) -> None:
        self.host = host
        self.instance = settings.stack
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

    def package(self, name: str, files: packages.Files) -> packages.Package:
        """Declare a Python package that pods run."""
        return packages.Package(name, files, namespace=self.namespace, instance=self.instance)
