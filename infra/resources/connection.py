"""How the dynamic resources reach the object store of their stack.

The stack's own store is reached by way of the cluster's API: it is open to pods only.

They get the name of the Secret with its credentials and read it when they are called: a provider's
inputs are kept in the state, and a changed key must not leave the old one behind in it.
"""

import base64
import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from store import buckets, client
from store.access import ACCESS_KEY, SECRET_KEY, Access
from store.client import Client
from store.errors import Forbidden, Gone, Unreachable, WrongCredentials

from ..cluster import api, names, port_forward, store_disk
from ..cluster.clusters import Cluster

Store = Mapping[str, Any]
"""Input of the dynamic resources: `endpoint` (empty: AWS; of an in-stack store the one that pods
use), `region`, `in_stack`, and where its Secret is: `cluster` (see `clusters.Cluster`), `namespace`
and `secret`. For whose the buckets are, `stack_id` and `stack`; `volume` is another one when the
in-stack store has lost its volume."""

Seen = TypeVar("Seen")

_AWAY = (Unreachable, WrongCredentials, Forbidden)
"""What an in-stack store answers that is not itself. Its credentials are wrong where somebody has
written others into the Secret. It forbids everything while it ends, when it has lost its users:
Kubernetes still sends it requests then, as long as no other pod is ready."""

CREDENTIALS = "DLSTACK_S3_CREDENTIALS"
OF_THE_ENVIRONMENT = "environment"
"""In a Secret without keys: whoever asks has an identity that boto3 finds."""


def connect(store: Store) -> Client:
    """Return a client of `store`, which answered a moment ago.

    Raises:
        Gone: its Secret is not there.
        Unreachable: it does not answer. That is known after seconds.
    """
    found = _client(store)
    buckets.require_answer(found)
    return found


def _client(store: Store) -> Client:
    variables = read_variables(store)
    way = way_in(store)
    access = Access.of(variables, way.endpoint, store["region"])
    return client.connect(
        access,
        direct=store["in_stack"],
        called=store["endpoint"],
        why=way.why,
        full=_full(tuple(sorted(store["cluster"].items())), store["namespace"])
        if store["in_stack"]
        else None,
    )


@functools.cache
def _full(of: tuple[tuple[str, str], ...], namespace: str) -> Callable[[], str]:
    """Return what says that the disk of a stack's own store is full.

    The same each time: there is one client for all that ask in the same way.

    Args:
        of: the items of the stack's `Cluster`.
        namespace: of the stack.
    """
    cluster = cast("Cluster", dict(of))

    def say() -> str:
        disk = store_disk.look(cluster, namespace)
        return store_disk.advice(disk) if disk is not None and disk.is_nearly_full else ""

    return say


class WayIn(NamedTuple):
    """How this process reaches a store."""

    endpoint: str
    """URL; empty for AWS."""
    why: Callable[[], str] | None
    """Says why it does not, if that is known here."""


def way_in(store: Store) -> WayIn:
    """Return how this process reaches `store`."""
    if not store["in_stack"]:
        return WayIn(store["endpoint"], None)
    forward = port_forward.to(
        store["cluster"], store["namespace"], names.OBJECT_STORE, names.OBJECT_STORE_PORT
    )
    return WayIn(f"http://127.0.0.1:{forward.port}", forward.problem)


def connect_when_it_answers(store: Store, seconds: float = 0) -> Client:
    """Return a client of `store`, an in-stack one of which answers.

    Raises:
        Gone: its Secret is not there.
        Unreachable: the in-stack store did not answer within `seconds`, or another one does not.
    """
    if not store["in_stack"]:
        return connect(store)
    found = _client(store)
    buckets.wait_until_it_answers(found, seconds)
    return found


def read_variables(store: Store) -> dict[str, str]:
    """Return what the store's Secret has now (`Access.variables`)."""
    namespace, name = store["namespace"], store["secret"]
    try:
        document = api.get(store["cluster"], f"/api/v1/namespaces/{namespace}/secrets/{name}")
    except api.Forbidden as refusal:
        raise Forbidden(
            f"The kubeconfig's user may not read the Secret '{name}' of the namespace "
            f"'{namespace}', which has the object store's credentials (docs/clusters.md)."
        ) from refusal
    if document is None:
        raise Gone(
            f"The Secret '{name}' with the object store's credentials is not in the namespace "
            f"'{namespace}'. Run 'pulumi up --refresh', which makes it again."
        )
    data = {
        key: base64.b64decode(value).decode() for key, value in (document.get("data") or {}).items()
    }
    has_keys = {ACCESS_KEY, SECRET_KEY} <= data.keys()
    if not has_keys and data.get(CREDENTIALS) != OF_THE_ENVIRONMENT:
        raise Gone(
            f"The Secret '{name}' of the namespace '{namespace}' has no {ACCESS_KEY} and "
            f"{SECRET_KEY}. Run 'pulumi up --refresh', which puts them there again."
        )
    return data


def fingerprint(access_key: str, secret_key: str, salt: str) -> str:
    """Return what changes with the credentials, and does not help to guess them.

    It is shown to all who may read Deployments: so each guess costs some 50 ms, for one stack only.
    """
    keys = f"{access_key}\n{secret_key}".encode()
    return hashlib.scrypt(keys, salt=salt.encode(), n=2**14, r=8, p=1, dklen=16).hex()


def read(store: Store, look: Callable[[Client], Seen]) -> Seen | None:
    """Return what `look` sees in the store; None if nothing can be known of it now.

    The in-stack store may be away because its Secret, its Deployment or its pod is: what it holds
    is on its volume.

    Raises:
        Gone: `look` did not find what it looked for, or the in-stack store went with its namespace.
        StoreError: a store of the user's own can't be asked.
    """
    try:
        client = connect_when_it_answers(store)
    except Gone:
        if _went_with_its_namespace(store):
            raise
        return None
    except _AWAY:
        if store["in_stack"]:
            return None
        raise
    try:
        return look(client)
    except _AWAY:
        # It answered, and was on its way out.
        if store["in_stack"]:
            return None
        raise


def connect_to_delete(store: Store, forced: Callable[[], bool]) -> Client | None:
    """Return a client, or None if the in-stack store went with its namespace.

    If `forced()`, an in-stack store that does not answer needs no look: its volume goes with it.

    Raises:
        StoreError: the credentials are gone, or the store does not answer: what it holds is there.
    """
    try:
        return connect_when_it_answers(store)
    except (Gone, Unreachable) as error:
        if isinstance(error, Gone) and _went_with_its_namespace(store):
            return None
        if store["in_stack"] and forced():
            return None
        raise


def _went_with_its_namespace(store: Store) -> bool:
    path = f"/api/v1/namespaces/{store['namespace']}"
    return bool(store["in_stack"]) and api.get(store["cluster"], path) is None
