"""What a stack says of itself to `python -m infra`: the data of its ConfigMap `stack`.

A contract (docs/contracts.md): the command may be of another version than the stack.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from . import names


@dataclass(frozen=True, kw_only=True)
class Description:
    """What was written when the stack was deployed."""

    stack: str
    """`<project>-<stack>`."""
    stack_id: str
    """Of the label `dlstack.dev/stack-id`; empty: written before there were ids."""
    host: str
    """Address under which clients reach node ports."""
    output_bucket: str
    model_name: str
    store_endpoint: str
    """URL; empty for AWS."""
    store_region: str
    store_in_stack: bool
    store_secret: str
    """The Secret with its credentials."""
    pinned_version: int | None
    """The version that is served whatever is newer; None: the newest is."""


def write(
    *,
    stack: str,
    stack_id: pulumi.Input[str],
    host: str,
    output_bucket: pulumi.Input[str],
    model_name: str,
    store_endpoint: pulumi.Input[str],
    store_region: str,
    store_in_stack: bool,
    store_secret: str,
    pinned_version: int | None,
) -> dict[str, pulumi.Input[str]]:
    """Return the ConfigMap's data."""
    return {
        "stack": stack,
        "stackId": stack_id,
        "host": host,
        "outputBucket": output_bucket,
        "modelName": model_name,
        "storeEndpoint": store_endpoint,
        "storeRegion": store_region,
        "storeInStack": json.dumps(store_in_stack),
        "storeSecret": store_secret,
        "pinnedVersion": "" if pinned_version is None else str(pinned_version),
    }


def read(data: Mapping[str, str]) -> Description:
    """Return what `write` has written."""
    return Description(
        stack=data["stack"],
        stack_id=data.get("stackId", ""),
        host=data["host"],
        output_bucket=data["outputBucket"],
        model_name=data["modelName"],
        store_endpoint=data["storeEndpoint"],
        store_region=data["storeRegion"],
        store_in_stack=data["storeInStack"] == "true",
        # Stacks that an older program deployed have no other.
        store_secret=data.get("storeSecret", names.OBJECT_STORE),
        pinned_version=int(data.get("pinnedVersion") or 0) or None,
    )
