"""How clients outside of the cluster reach the prediction service: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ServiceType = Literal["NodePort", "LoadBalancer", "ClusterIP"]
"""Of Kubernetes' Services."""

ExposureType = Literal["NodePort", "LoadBalancer", "ClusterIP", "Ingress", "Gateway"]


@dataclass(frozen=True)
class Gateway:
    """A Gateway of the cluster, to which routes are attached."""

    name: str
    namespace: str | None = None
    """None: the stack's own."""
    listener: str | None = None
    """None: each one that takes such routes."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Of the prediction service."""

    type: ExposureType = "ClusterIP"
    host: str | None = None
    """Address that clients use; found out unless set. Set for routes."""
    grpc_host: str | None = None
    """Name that gRPC has of its own, for routes."""
    grpc_node_port: int | None = None
    """Port of every node; the cluster picks one unless set."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the Service: what a cloud's balancer is to be like."""
    source_ranges: tuple[str, ...] = ()
    """Networks that a load balancer lets in; empty: all."""
    ingress_class: str | None = None
    """None: the cluster's default."""
    ingress_annotations: Mapping[str, str] = field(default_factory=dict)
    tls_secret: str | None = None
    """Secret of the namespace with the certificate of the Ingress."""
    gateway: Gateway | None = None
    encrypts: bool = False
    """Whether the Ingress or the Gateway speaks TLS with clients."""

    @property
    def is_routed(self) -> bool:
        """Whether an Ingress or a Gateway passes requests on by their host names."""
        return self.type in ("Ingress", "Gateway")

    @property
    def service_type(self) -> ServiceType:
        """The type of the Service itself."""
        return "ClusterIP" if self.type == "Ingress" or self.type == "Gateway" else self.type

    @property
    def node_host(self) -> str | None:
        """The address of nodes that was set, for node ports."""
        return self.host if self.type == "NodePort" else None

    @property
    def grpc_name(self) -> str:
        """Under which name a route has gRPC."""
        return self.grpc_host or self.host or ""

    @property
    def route_port(self) -> int:
        """On which port an Ingress or a Gateway listens."""
        return 443 if self.encrypts else 80

    @property
    def route_url(self) -> str:
        """Where a route has REST and the page."""
        return f"{'https' if self.encrypts else 'http'}://{self.host}"
