"""How an Ingress or a Gateway of the cluster leads to a Service: by the host names of requests."""

from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import (
    HTTPIngressPathArgs,
    HTTPIngressRuleValueArgs,
    Ingress,
    IngressBackendArgs,
    IngressRuleArgs,
    IngressServiceBackendArgs,
    IngressSpecArgs,
    IngressTLSArgs,
    ServiceBackendPortArgs,
)

from ..cluster import names
from ..cluster.exposure import Exposure

API = "gateway.networking.k8s.io/v1"

_NGINX = "nginx.ingress.kubernetes.io"
_HTTP_ANNOTATIONS = {
    # A batch of pictures is larger than the 1 MB that it lets through.
    f"{_NGINX}/proxy-body-size": "0",
}
_GRPC_ANNOTATIONS = {
    **_HTTP_ANNOTATIONS,
    # It does not read the Service's `appProtocol`.
    f"{_NGINX}/backend-protocol": "GRPC",
}
"""What the most used controller has to be told; others read no annotations of that name."""

_GRPC_PATHS = (
    "/tensorflow.serving.PredictionService",
    "/tensorflow.serving.ModelService",
    "/grpc.health.v1.Health",
    "/grpc.reflection.v1.ServerReflection",
    "/grpc.reflection.v1alpha.ServerReflection",
)
"""Of the gRPC services, where HTTP has the same host name."""


class Routes(pulumi.ComponentResource):
    """The way of REST and the page, and that of gRPC."""

    grpc_host: pulumi.Output[str]
    port: pulumi.Output[int]
    url: pulumi.Output[str]
    """Of REST and the page."""

    def __init__(
        self,
        name: str,
        *,
        namespace: pulumi.Input[str],
        instance: str,
        exposure: Exposure,
        tls_secret: pulumi.Input[str] | None,
        grpc: int,
        http: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare two routes to the Service `name`.

        Args:
            name: of the Service.
            namespace: where it lies.
            instance: value of the label `app.kubernetes.io/instance`.
            exposure: an Ingress or a Gateway.
            tls_secret: of an Ingress; None: its controller has a certificate of its own.
            grpc, http: numbers of the Service's ports.
            opts: resource options.
        """
        super().__init__("dlstack:exposure:Routes", name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        self._name, self._namespace, self._instance = name, namespace, instance
        if exposure.type == "Ingress":
            own = {**_HTTP_ANNOTATIONS, **exposure.ingress_annotations}
            self._ingress("http", exposure, own, str(exposure.host), ["/"], http, tls_secret)
            own = {**_GRPC_ANNOTATIONS, **exposure.ingress_annotations}
            has_name = exposure.grpc_name != exposure.host
            paths = ["/"] if has_name else list(_GRPC_PATHS)
            self._ingress("grpc", exposure, own, exposure.grpc_name, paths, grpc, tls_secret)
        else:
            self._route("HTTPRoute", "http", exposure, str(exposure.host), http)
            self._route("GRPCRoute", "grpc", exposure, exposure.grpc_name, grpc)
        self.grpc_host = pulumi.Output.from_input(exposure.grpc_name)
        self.port = pulumi.Output.from_input(exposure.route_port)
        self.url = pulumi.Output.from_input(exposure.route_url)
        self.register_outputs({"grpc_host": self.grpc_host, "port": self.port, "url": self.url})

    def _metadata(self, role: str, annotations: dict[str, str]) -> ObjectMetaArgs:
        return ObjectMetaArgs(
            name=f"{self._name}-{role}",
            namespace=self._namespace,
            labels=names.labels(self._name, self._instance),
            # It waits for endpoints and an address; its pods may not be there yet.
            annotations={**names.SKIP_AWAIT, **annotations},
        )

    def _ingress(
        self,
        role: str,
        exposure: Exposure,
        annotations: dict[str, str],
        host: str,
        paths: list[str],
        port: int,
        tls_secret: pulumi.Input[str] | None,
    ) -> None:
        backend = IngressBackendArgs(
            service=IngressServiceBackendArgs(
                name=self._name, port=ServiceBackendPortArgs(number=port)
            )
        )
        Ingress(
            f"{self._name}-{role}-ingress",
            metadata=self._metadata(role, annotations),
            spec=IngressSpecArgs(
                ingress_class_name=exposure.ingress_class,
                tls=[IngressTLSArgs(hosts=[host], secret_name=tls_secret)]
                if exposure.encrypts
                else None,
                rules=[
                    IngressRuleArgs(
                        host=host,
                        http=HTTPIngressRuleValueArgs(
                            paths=[
                                HTTPIngressPathArgs(path=path, path_type="Prefix", backend=backend)
                                for path in paths
                            ]
                        ),
                    )
                ],
            ),
            opts=self._child,
        )

    def _route(self, kind: str, role: str, exposure: Exposure, host: str, port: int) -> None:
        assert exposure.gateway is not None
        parent = {
            "name": exposure.gateway.name,
            "namespace": exposure.gateway.namespace,
            "sectionName": exposure.gateway.listener,
        }
        spec: dict[str, Any] = {
            "parentRefs": [{key: value for key, value in parent.items() if value}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": self._name, "port": port}]}],
        }
        CustomResource(
            f"{self._name}-{role}-route",
            api_version=API,
            kind=kind,
            metadata=self._metadata(role, {}),
            spec=spec,
            opts=self._child,
        )
