"""GET requests to the cluster's API: an object, a collection as it changes, a log.

Raw requests with the kubeconfig's authentication: typed objects of a big cluster would
cost more than the rest of a `pulumi up` that changes nothing.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pulumi

_TIMEOUT_SECONDS = 10


class NoAnswer(pulumi.RunError):
    """The cluster can't be reached, or an answer broke off: trying again may help."""


def get(context: str, path: str) -> dict[str, Any] | None:
    """Return the answer of the cluster's API to GET `path`; None if there is no such object."""
    with _opened(context, path) as answer:
        return None if answer.status == 404 else dict(json.loads(answer.data))


def watch(context: str, path: str, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield the objects of the collection `path` as they are now, and then as they change.

    Args:
        context: of the kubeconfig; empty for its current one.
        path: of the collection, with a query.
        seconds: the end of the watch.
    """
    for kind, changed in events(context, path, seconds):
        if kind in ("ADDED", "MODIFIED"):
            yield changed


def events(context: str, path: str, seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ADDED, MODIFIED or DELETED and the object, as `watch` does."""
    for line in lines(context, f"{path}&watch=true&timeoutSeconds={seconds}", seconds):
        event = json.loads(line)
        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            yield event["type"], event["object"]


def lines(context: str, path: str, seconds: int) -> Iterator[bytes]:
    """Yield the lines of the answer to GET `path` as they arrive, without their ends.

    Args:
        context: of the kubeconfig; empty for its current one.
        path: with its query.
        seconds: how long the answer may be silent, beyond what the network may take.

    Raises:
        NoAnswer: it was silent for longer, or broke off.
    """
    with _opened(context, path, seconds) as answer:
        if answer.status == 404:
            return
        rest = b""
        for chunk in answer.stream(65536):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest


@contextmanager
def _opened(context: str, path: str, seconds: int = 0) -> Iterator[Any]:
    """Send GET `path`; give the answer, of status 200 or 404, whose body was not read yet."""
    # 0.6 s, and the dynamic providers import this module without asking for anything.
    import urllib3
    from kubernetes import client, config

    configuration = client.Configuration()
    # More would only log the same refusal again before it is reported.
    configuration.retries = False
    kubeconfig = os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    try:
        # `load_config` doesn't know lists of files, and prints to stdout.
        if "KUBERNETES_SERVICE_HOST" in os.environ and not os.path.exists(kubeconfig):
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(kubeconfig, context or None, configuration)
    except (config.ConfigException, OSError) as exc:
        raise pulumi.RunError(
            f"No Kubernetes cluster is configured: {str(exc).rstrip('.')}. "
            "Set KUBECONFIG to a kubeconfig file, and kubernetes:context to one of its contexts."
        ) from exc
    with client.ApiClient(configuration) as api:
        try:
            answer = api.rest_client.pool_manager.request(
                "GET",
                configuration.host + path,
                headers=_headers(configuration),
                preload_content=False,
                timeout=urllib3.Timeout(connect=_TIMEOUT_SECONDS, read=_TIMEOUT_SECONDS + seconds),
            )
            try:
                if answer.status not in (200, 404):
                    raise _refused(configuration.host, path, answer.status, answer.reason)
                yield answer
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as exc:
            raise NoAnswer(
                f"No Kubernetes answers at '{configuration.host}': {_reason(exc)}. "
                "Start the cluster, or set KUBECONFIG to one that runs."
            ) from exc


def _headers(configuration: Any) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    for setting in configuration.auth_settings().values():
        headers[setting["key"]] = setting["value"]
    return headers


def _refused(host: str, path: str, status: int, reason: str) -> pulumi.RunError:
    if status >= 500:
        return NoAnswer(
            f"The cluster at '{host}' can't answer '{path}': {status} {reason}. Try again, or look "
            "at its nodes ('kubectl get nodes')."
        )
    return pulumi.RunError(
        f"The cluster at '{host}' refuses '{path}': {status} {reason}. "
        "Use a kubeconfig whose user may read nodes, namespaces and all in the stack's namespace."
    )


def _reason(exc: BaseException) -> str:
    """Return the last, most exact part of one of urllib3's nested messages."""
    return str(getattr(exc, "reason", None) or exc).rsplit(": ", 1)[-1].rstrip(".")
