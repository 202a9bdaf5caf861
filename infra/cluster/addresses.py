"""Where a deployed stack's Services answer, read from the cluster.

The same addresses as the stack's outputs, which a first `pulumi up` has only when it has ended.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from . import names


def of_services(
    services: Iterable[Mapping[str, Any]],
    host: str,
    public_host: str = "",
    routes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return name -> address of what is for people and clients: `grpc`, `rest`, `page`, …

    Args:
        services: of the stack's namespace, as the cluster's API tells them.
        host: under which node ports are reached.
        public_host: under which the prediction service is, where the user set one.
        routes: what an Ingress or a Gateway answers, by name.
    """
    by_name = {service["metadata"]["name"]: service for service in services}
    found = {}
    for name, service, port in (
        ("grpc", names.PREDICTION, "grpc"),
        ("rest", names.PREDICTION, "rest"),
        ("page", names.PREDICTION, "page"),
        ("tensorboard", names.TENSORBOARD, names.TENSORBOARD_PORT),
    ):
        public = public_host if service == names.PREDICTION else ""
        address = _address(by_name[service], port, host, public) if service in by_name else None
        if address:
            found[name] = (routes or {}).get(name, address)
    return found


def _address(service: Mapping[str, Any], port_name: str, node: str, public: str) -> str | None:
    """Return `host:port`, for people's browsers as a URL; None while there is none."""
    spec = service["spec"]
    port = next((port for port in spec["ports"] if port["name"] == port_name), None)
    if port is None:
        return None
    host: str | None
    if spec["type"] == "NodePort":
        host, number = node, port.get("nodePort")
    elif spec["type"] == "LoadBalancer":
        entries = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        balancer = entries[0].get("ip") or entries[0].get("hostname")
        host, number = public or balancer, port["port"]
    else:
        metadata = service["metadata"]
        host, number = public or f"{metadata['name']}.{metadata['namespace']}.svc", port["port"]
    if not host or not number:
        return None
    if ":" in host:
        host = f"[{host}]"
    scheme = "" if port_name == "grpc" else f"{port.get('appProtocol', 'http')}://"
    return f"{scheme}{host}:{number}"
