"""How the dynamic resources reach the object store of their stack.

They get the name of the Secret with its credentials and read it when they are called: a provider's
inputs are kept in the state, and a changed key must not leave the old one behind in it.
"""

import base64
from collections.abc import Mapping
from typing import Any

from store import client
from store.client import Client
from store.errors import Gone

from ..cluster import api
from .provider import changed

Store = Mapping[str, Any]
"""Input of the dynamic resources: `endpoint` (empty: AWS), `region`, `in_stack`, and where its
Secret is: `cluster` (see `clusters.Cluster`), `namespace` and `secret`."""

ACCESS_KEY = "AWS_ACCESS_KEY_ID"
SECRET_KEY = "AWS_SECRET_ACCESS_KEY"


def connect(store: Store) -> Client:
    """Return a client of `store`. Raises Gone if its Secret went with its namespace."""
    access_key, secret_key = read_credentials(store)
    return client.connect(
        store["endpoint"], store["region"], access_key, secret_key, direct=store["in_stack"]
    )


def read_credentials(store: Store) -> tuple[str, str]:
    """Return access key and secret key, as the Secret has them now."""
    namespace, name = store["namespace"], store["secret"]
    document = api.get(store["cluster"], f"/api/v1/namespaces/{namespace}/secrets/{name}")
    if document is None:
        raise Gone(
            f"The Secret '{name}' with the object store's credentials is not in the namespace "
            f"'{namespace}'. Run 'pulumi refresh', then 'pulumi up'."
        )
    data = document["data"]
    access_key, secret_key = (
        base64.b64decode(data[key]).decode() for key in (ACCESS_KEY, SECRET_KEY)
    )
    return access_key, secret_key


def other_store(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Say whether `news` is in another object store.

    The in-stack store stays the same when a node's address or port changes.
    """
    old, new = olds["store"], news["store"]
    if old["in_stack"] and new["in_stack"]:
        return bool(changed(old, new, "namespace"))
    return bool(changed(old, new, "in_stack", "endpoint", "region"))


def connect_unless_gone(store: Store) -> Client | None:
    """Return a client, or None if the in-stack store went with its namespace.

    Raises if the credentials of a store outside the cluster are gone: what it holds is still there.
    """
    try:
        return connect(store)
    except Gone:
        if store["in_stack"]:
            return None
        raise
