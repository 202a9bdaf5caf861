"""How this process proves to a cluster's API who it is, and by which way: a context, read once."""

import json
import threading
import time
from typing import Any

from . import kubeconfig

_KEPT_SECONDS = 300
"""A command that gives a token takes a second, and a transfer opens dozens of connections. A token
that ends sooner is asked for anew by then; a kubeconfig with another content counts at once."""

_lock = threading.Lock()
_known: dict[str, tuple[float, Any]] = {}
"""Content of a kubeconfig -> when it was read, and what it became."""


def configuration(context: str) -> Any:
    """Return the `kubernetes.client.Configuration` of a context; empty: the current one.

    Raises:
        pulumi.RunError: there is no usable kubeconfig.
    """
    chosen = None if kubeconfig.is_of_the_pod() else kubeconfig.document(context)
    key = json.dumps(chosen, sort_keys=True)
    with _lock:
        since, found = _known.get(key, (0.0, None))
        if found is None or time.monotonic() - since > _KEPT_SECONDS:
            found = _made(chosen)
            _known[key] = (time.monotonic(), found)
        return found


def forget() -> None:
    """Read all anew from now on: a cluster did not take what was read."""
    with _lock:
        _known.clear()


def _made(chosen: dict[str, Any] | None) -> Any:
    # 0.6 s, and the dynamic providers import this module without asking for anything.
    from kubernetes import client, config

    made = client.Configuration()
    # More would only log the same refusal again before it is reported.
    made.retries = False
    try:
        # `load_config` prints to stdout. Of several files the client would take the last one's
        # context, where kubectl and the stack's provider take the first one's.
        if chosen is None:
            config.load_incluster_config(client_configuration=made)
        else:
            config.load_kube_config_from_dict(chosen, client_configuration=made)
            if kubeconfig.is_of_this_machine(chosen):
                # As kubectl and the stack's provider do, whatever NO_PROXY says.
                made.proxy = None
    except (config.ConfigException, OSError) as exc:
        raise kubeconfig.unusable(str(exc)) from exc
    return made
