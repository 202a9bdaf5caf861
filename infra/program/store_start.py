"""The wait for an in-stack store that is about to start, as it is when its cluster was started."""

import time
from typing import Any

import pulumi

from store.client import Client
from store.errors import Unreachable

from ..cluster import api, names, why
from ..resources import connection

_SECONDS = 60
"""How long the store may take: on a busy machine some 30 s."""

_TROUBLED_SECONDS = 10
"""How long something may keep it from starting: the troubles of a cluster that was started a moment
ago pass."""

_LOOK_SECONDS = 2


def starting(store: connection.Store) -> dict[str, Any] | None:
    """Return the Deployment of the stack's own store, if it is to run and is not Ready yet."""
    path = f"/apis/apps/v1/namespaces/{store['namespace']}/deployments/{names.OBJECT_STORE}"
    found = api.get(store["cluster"], path) if store["in_stack"] else None
    if not found or not found["spec"]["replicas"] or found.get("status", {}).get("readyReplicas"):
        return None
    return found


def await_answer(store: connection.Store) -> Client:
    """Return a client of the stack's own store, which is about to start, once it answers.

    What keeps it from starting is told at once, and is not waited for.

    Raises:
        Unreachable: it does not answer.
    """
    pulumi.log.info("The object store is about to start. It is waited for.")
    began = healthy = time.monotonic()
    told = ""
    hopeless = False
    while (deployment := starting(store)) is not None:
        trouble, now = why.deployment(store["cluster"], deployment), time.monotonic()
        if trouble is None:
            healthy = now
        elif str(trouble) != told:
            told = str(trouble)
            pulumi.log.warn(f"The object store does not start: {told}")
        # Twice: while things come up they also fail for a moment.
        lasts, hopeless = hopeless, trouble is not None and trouble.hopeless
        if (lasts and hopeless) or now - began > _SECONDS or now - healthy > _TROUBLED_SECONDS:
            break
        try:
            return connection.connect_when_it_answers(store, _LOOK_SECONDS)
        except Unreachable:
            continue
    return connection.connect_when_it_answers(store)
