"""The Secret by which pods know the proxy to the world. Its URLs may have a password in them."""

import json

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..resources.connection import fingerprint
from ..settings import proxy
from ..settings.settings import Settings
from .place import Place

_OWN_NAMES = ("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local", f".{names.WORKERS}")
"""This pod, Services and the workers of a run: what each program of a pod understands. The agent
adds the addresses of the workers themselves."""


class ProxySecret:
    """What the pods that talk to the world take their proxy variables from, if it is there.

    They name it whether it is there or not (`pod_specs.container`): so a proxy that comes or goes
    makes no other training Job.
    """

    resources: list[pulumi.Resource]
    """The Secret, or nothing. Pods have to be made after it."""
    digest: pulumi.Output[str] | None
    """Changes with what is in it, for pods that have to start anew; None without a proxy."""

    def __init__(self, settings: Settings, place: Place) -> None:
        """Declare it, where a proxy is configured."""
        self.resources, self.digest = [], None
        if settings.proxy is None:
            return
        variables = proxy.variables(settings.proxy, _OWN_NAMES)
        secret = Secret(
            names.PROXY,
            metadata=ObjectMetaArgs(
                name=names.PROXY,
                namespace=place.namespace,
                labels=names.labels(names.PROXY, place.instance),
            ),
            string_data=pulumi.Output.secret(variables),
        )
        self.resources = [secret]
        self.digest = pulumi.Output.from_input(place.stack_id).apply(
            lambda salt: fingerprint(json.dumps(variables), "", salt)
        )
