"""What a stack says of itself to `python -m infra`: the data of its ConfigMap `stack`.

A contract (docs/contracts.md): the command may be of another version than the stack.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from . import api, names
from .clusters import Cluster
from .exposure import Exposure


@dataclass(frozen=True, kw_only=True)
class Description:
    """What was written when the stack was deployed."""

    stack: str
    """`<project>-<stack>`."""
    stack_id: str
    """Of the label `dlstack.dev/stack-id`; empty: written before there were ids."""
    host: str
    """Address under which clients reach node ports."""
    public_host: str
    """Address under which clients reach the prediction service, where one was set; else empty."""
    routes: Mapping[str, str]
    """What an Ingress or a Gateway answers: `grpc`, `rest`, `page` -> address."""
    output_bucket: str
    data_bucket: str
    model_name: str
    store_endpoint: str
    """URL; empty for AWS."""
    store_region: str
    store_in_stack: bool
    store_secret: str
    """The Secret with its credentials."""
    pinned_version: int | None
    """The version that is served whatever is newer; None: that of the configured run is."""
    deploys: bool
    """Whether what is published is served: `dlstack:deploy`."""
    model: str
    """`dlstack:model` as it was written; empty: none."""
    data_dir: str
    """`dlstack:dataDir` as it was written, if that was a folder whose files are in the bucket."""
    data_digest: str
    """Of these files: what their index is called; empty: there are none."""
    model_identity: str
    """Of the content that it led to, which is there as a version when that is gone."""


def write(
    *,
    stack: str,
    stack_id: pulumi.Input[str],
    host: str,
    exposure: Exposure | None = None,
    output_bucket: pulumi.Input[str],
    model_name: str,
    store_endpoint: pulumi.Input[str],
    store_region: str,
    store_in_stack: bool,
    store_secret: str,
    pinned_version: int | None,
    deploys: bool = True,
    model: str = "",
    model_identity: str = "",
    data_dir: str = "",
    data_digest: str = "",
    data_bucket: pulumi.Input[str] = "",
) -> dict[str, pulumi.Input[str]]:
    """Return the ConfigMap's data."""
    return {
        "stack": stack,
        "stackId": stack_id,
        "host": host,
        "publicHost": (exposure.host if exposure else None) or "",
        "routes": json.dumps(_routes(exposure)),
        "outputBucket": output_bucket,
        "dataBucket": data_bucket,
        "modelName": model_name,
        "storeEndpoint": store_endpoint,
        "storeRegion": store_region,
        "storeInStack": json.dumps(store_in_stack),
        "storeSecret": store_secret,
        "pinnedVersion": "" if pinned_version is None else str(pinned_version),
        "deploy": json.dumps(deploys),
        "model": model,
        "modelIdentity": model_identity,
        "dataDir": data_dir,
        "dataDigest": data_digest,
    }


def _routes(exposure: Exposure | None) -> dict[str, str]:
    if exposure is None or not exposure.is_routed:
        return {}
    grpc = f"{exposure.grpc_name}:{exposure.route_port}"
    return {"grpc": grpc, "rest": exposure.route_url, "page": exposure.route_url}


def read(data: Mapping[str, str]) -> Description:
    """Return what `write` has written."""
    return Description(
        stack=data["stack"],
        stack_id=data.get("stackId", ""),
        host=data["host"],
        public_host=data.get("publicHost", ""),
        routes=json.loads(data.get("routes") or "{}"),
        output_bucket=data["outputBucket"],
        # Stacks that an older program deployed have no other.
        data_bucket=data.get("dataBucket")
        or f"{data['outputBucket'].removesuffix('-output')}-data",
        model_name=data["modelName"],
        store_endpoint=data["storeEndpoint"],
        store_region=data["storeRegion"],
        store_in_stack=data["storeInStack"] == "true",
        # Stacks that an older program deployed have no other.
        store_secret=data.get("storeSecret", names.OBJECT_STORE),
        pinned_version=int(data.get("pinnedVersion") or 0) or None,
        deploys=data.get("deploy") != "false",
        model=data.get("model", ""),
        model_identity=data.get("modelIdentity", ""),
        data_dir=data.get("dataDir", ""),
        data_digest=data.get("dataDigest", ""),
    )


def find(cluster: Cluster, namespace: str) -> Description | None:
    """Return what the stack of a namespace says of itself; None if there is none."""
    path = f"/api/v1/namespaces/{namespace}/configmaps/{names.DESCRIPTION}"
    document = api.get(cluster, path)
    try:
        return read(document["data"]) if document else None
    except KeyError:
        # Of a namespace that is not a stack's.
        return None
