"""How the prediction service is exposed: the keys that say so, checked."""

import dataclasses
import ipaddress
import re
from typing import get_args

import pulumi

from ..cluster.exposure import Exposure, ExposureType, Gateway
from .access import AccessSettings
from .pods import texts
from .reader import Reader

_TYPES: tuple[ExposureType, ...] = get_args(ExposureType)

_ONLY: dict[str, tuple[ExposureType, ...]] = {
    "grpcNodePort": ("NodePort",),
    "loadBalancerSourceRanges": ("LoadBalancer",),
    "ingressClass": ("Ingress",),
    "ingressAnnotations": ("Ingress",),
    "tlsSecret": ("Ingress",),
    "gateway": ("Gateway",),
    "grpcHost": ("Ingress", "Gateway"),
}
"""Key -> for which values of `serviceType` it means something."""

_DNS_NAME = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_GATEWAY = re.compile(r"(?:([-a-z0-9]+)/)?([-a-z0-9.]+)|([-a-z0-9]+)/([-a-z0-9.]+)/([-a-z0-9.]+)")


def read(reader: Reader) -> Exposure:
    """Return how the prediction service is exposed; `access` decides whether it is encrypted."""
    kind = reader.choice("serviceType", "NodePort", _TYPES)
    found = Exposure(
        type=kind,
        host=_host(reader, "host"),
        grpc_host=_host(reader, "grpcHost"),
        grpc_node_port=reader.integer("grpcNodePort", low=1, high=65535),
        annotations=texts(reader, "serviceAnnotations"),
        source_ranges=_ranges(reader),
        ingress_class=reader.text("ingressClass") or None,
        ingress_annotations=texts(reader, "ingressAnnotations"),
        tls_secret=reader.text("tlsSecret") or None,
        gateway=_gateway(reader),
    )
    for key, kinds in _ONLY.items():
        if reader.text(key) not in ("", "{}") and kind not in kinds:
            reader.fail(
                key,
                f"needs serviceType {' or '.join(kinds)}, not '{kind}'. Or run "
                f"'pulumi config rm dlstack:{key}'",
            )
    if found.is_routed:
        _check_route(reader, found)
    return found


def with_access(
    reader: Reader, exposure: Exposure, access: AccessSettings | None, tensorboard: ExposureType
) -> Exposure:
    """Return `exposure` with its encryption; refuse what everybody could use, unless it is wanted.

    Args:
        reader: of the configuration.
        exposure: from `read`.
        access: what the prediction service asks for.
        tensorboard: type of the Service of TensorBoard, which asks for nothing.
    """
    if access is None and exposure.tls_secret:
        reader.fail("tlsSecret", "is set, but TLS is off. Set dlstack:tls to true, or remove it")
    if not reader.flag("insecure"):
        if exposure.is_routed or exposure.type == "LoadBalancer":
            _require_locked(exposure.type, access)
        if tensorboard == "LoadBalancer":
            raise pulumi.RunError(
                "dlstack:tensorboardServiceType 'LoadBalancer' opens TensorBoard, which asks "
                "nobody for a password and encrypts nothing, to a network. Remove the key: 'python "
                "-m infra tensorboard' opens TensorBoard on this machine. Or, if everybody in that "
                "network may see it, run 'pulumi config set dlstack:insecure true'."
            )
    return dataclasses.replace(exposure, encrypts=exposure.is_routed and access is not None)


def _require_locked(kind: str, access: AccessSettings | None) -> None:
    opens = f"dlstack:serviceType '{kind}' opens the prediction service to a network"
    wanted = "if that is what you want, run 'pulumi config set dlstack:insecure true'."
    if access is None:
        raise pulumi.RunError(
            f"{opens}, but dlstack:tls is not set: everybody there could ask it, and read what "
            "others ask. Run 'pulumi config set dlstack:tls true' and 'openssl rand -hex 20 | "
            f"pulumi config set --secret dlstack:token'. Or, {wanted}"
        )
    if not access.token:
        raise pulumi.RunError(
            f"{opens}, but dlstack:token is not set: everybody there could ask it. Run 'openssl "
            f"rand -hex 20 | pulumi config set --secret dlstack:token'. Or, {wanted}"
        )


def _check_route(reader: Reader, found: Exposure) -> None:
    if not found.host:
        raise pulumi.RunError(
            f"dlstack:serviceType '{found.type}' needs the DNS name that requests come for. Run "
            "'pulumi config set dlstack:host NAME'."
        )
    for key, name in (("host", found.host), ("grpcHost", found.grpc_host)):
        if name and not _DNS_NAME.fullmatch(name):
            reader.fail(key, f"is not a DNS name, which serviceType {found.type} needs")
    if found.type != "Gateway":
        return
    if found.gateway is None:
        raise pulumi.RunError(
            "dlstack:serviceType 'Gateway' needs the Gateway that takes the routes. Run 'pulumi "
            "config set dlstack:gateway NAMESPACE/NAME' ('kubectl get gateways -A' lists them)."
        )
    if found.grpc_host in (None, found.host):
        raise pulumi.RunError(
            "dlstack:serviceType 'Gateway' needs a DNS name for gRPC beside dlstack:host: a "
            "Gateway refuses a GRPCRoute of a name that an HTTPRoute has. Run 'pulumi config set "
            "dlstack:grpcHost NAME'."
        )


def _host(reader: Reader, key: str) -> str | None:
    host = reader.text(key)
    if host and not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        reader.fail(key, "is not an address. Use a name or an IP without scheme and port")
    return host or None


def _ranges(reader: Reader) -> tuple[str, ...]:
    key = "loadBalancerSourceRanges"
    found = tuple(filter(None, re.split(r"[\s,]+", reader.text(key))))
    for one in found:
        try:
            ipaddress.ip_network(one)
        except ValueError as problem:
            reader.fail(
                key, f"has a network that is none ({problem}). Write it like '192.0.2.0/24'"
            )
    return found


def _gateway(reader: Reader) -> Gateway | None:
    text = reader.text("gateway")
    if not text:
        return None
    found = _GATEWAY.fullmatch(text)
    if not found:
        reader.fail("gateway", "is not NAME, NAMESPACE/NAME or NAMESPACE/NAME/LISTENER")
    namespace, name, *rest = found.groups()
    if name:
        return Gateway(name, namespace)
    return Gateway(rest[1], rest[0], rest[2])
