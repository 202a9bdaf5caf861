"""Services, and the addresses under which a client outside the cluster reaches them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi
from pulumi_kubernetes.core.v1 import Service, ServicePortArgs, ServiceSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..cluster.exposure import ServiceType


class Exposed(pulumi.ComponentResource):
    """A Service, with the addresses of its ports as clients see them."""

    host: pulumi.Output[str]
    ports: Mapping[str, pulumi.Output[int]]

    def __init__(
        self,
        name: str,
        *,
        namespace: pulumi.Input[str],
        instance: str,
        ports: Mapping[str, int],
        service_type: ServiceType = "ClusterIP",
        host: str = "",
        forced_host: str | None = None,
        node_ports: Mapping[str, int | None] | None = None,
        targets: Mapping[str, str] | None = None,
        protocols: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        source_ranges: Sequence[str] = (),
        ready: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a Service named `name`.

        Args:
            name: of the Service, too: its DNS name.
            namespace: where it lies.
            instance: value of the selector's `app.kubernetes.io/instance`.
            ports: port name -> number.
            service_type: how it is exposed; by default to the cluster's pods only.
            host: address of a node, for node ports.
            forced_host: address that the user set, whatever the type.
            node_ports: port name -> number on every node, where it isn't for the cluster to pick.
            targets: port name -> name of the container's port, where that is another.
            protocols: port name -> its `appProtocol`.
            annotations: of the Service.
            source_ranges: networks that a load balancer lets in; empty: all.
            ready: what must be there before a load balancer finds pods.
            opts: resource options.
        """
        super().__init__("dlstack:exposure:Exposed", name, None, opts)
        self._protocols = protocols or {}
        balanced = service_type == "LoadBalancer"
        service = Service(
            f"{name}-service",
            metadata=ObjectMetaArgs(
                name=name,
                namespace=namespace,
                labels=names.labels(name, instance),
                # A Service is awaited until it has had endpoints for 10 s: pointless without a
                # load balancer, and while training runs the prediction service has none.
                annotations={**({} if balanced else names.SKIP_AWAIT), **(annotations or {})},
            ),
            spec=ServiceSpecArgs(
                type=service_type,
                selector=names.selector(name, instance),
                ports=[
                    ServicePortArgs(
                        name=port,
                        port=number,
                        target_port=(targets or {}).get(port, port),
                        app_protocol=self._protocols.get(port),
                        node_port=(node_ports or {}).get(port),
                    )
                    for port, number in ports.items()
                ],
                load_balancer_source_ranges=list(source_ranges) or None,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(ready) if balanced else None),
        )
        if service_type == "NodePort":
            self.host = pulumi.Output.from_input(forced_host or host)
            self.ports = {port: _node_port(service, port) for port in ports}
        elif balanced:
            self.host = pulumi.Output.from_input(forced_host) if forced_host else _balancer(service)
            self.ports = {port: pulumi.Output.from_input(number) for port, number in ports.items()}
        else:
            internal = pulumi.Output.concat(name, ".", namespace, ".svc")
            self.host = pulumi.Output.from_input(forced_host) if forced_host else internal
            self.ports = {port: pulumi.Output.from_input(number) for port, number in ports.items()}
        self.register_outputs({"host": self.host, "ports": self.ports})

    def url(self, port: str) -> pulumi.Output[str]:
        """Return the URL of a port."""
        scheme = "https" if self._protocols.get(port) == "https" else "http"
        host = self.host.apply(lambda host: f"[{host}]" if ":" in host else host)
        return pulumi.Output.concat(scheme, "://", host, ":", self.ports[port].apply(str))


def _node_port(service: Service, name: str) -> pulumi.Output[int]:
    def find(spec: Any) -> int:
        for port in getattr(spec, "ports", None) or []:
            if port.name == name and port.node_port:
                return int(port.node_port)
        return cast(int, _unknown(f"no node port for '{name}'. Set dlstack:serviceType"))

    return service.spec.apply(find)


def _balancer(service: Service) -> pulumi.Output[str]:
    def find(status: Any) -> str:
        balancer = getattr(status, "load_balancer", None)
        for ingress in getattr(balancer, "ingress", None) or []:
            if found := ingress.ip or ingress.hostname:
                return str(found)
        return cast(str, _unknown("no load balancer. Set dlstack:serviceType to NodePort"))

    return service.status.apply(find)


def _unknown(problem: str) -> object:
    """Return what stands for a value that only a Service that exists can have."""
    if pulumi.runtime.is_dry_run():
        return pulumi.UNKNOWN
    raise pulumi.RunError(f"The cluster gave the Service {problem}.")
