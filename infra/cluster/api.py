"""Requests to the cluster's API: read, make or delete an object, watch a collection, read a log.

Raw requests with the kubeconfig's authentication: typed objects of a big cluster would
cost more than the rest of a `pulumi up` that changes nothing.
"""

import json
import os
from collections.abc import Iterator, Mapping
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


def create(context: str, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Make the object `document` in the collection `path`; return it as the cluster has it."""
    with _opened(context, path, method="POST", document=document) as answer:
        if answer.status == 404:
            raise pulumi.RunError(
                f"The cluster has no '{path}' to make an object in. Run 'pulumi refresh', then "
                "'pulumi up'."
            )
        return dict(json.loads(answer.data))


def delete(context: str, path: str) -> None:
    """Delete the object `path`, unless it is gone already."""
    with _opened(context, path, method="DELETE"):
        pass


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
def _opened(
    context: str,
    path: str,
    seconds: int = 0,
    *,
    method: str = "GET",
    document: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """Send a request; give the answer, of success or 404, whose body was not read yet."""
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
                method,
                configuration.host + path,
                body=None if document is None else json.dumps(document).encode(),
                headers=_headers(configuration),
                preload_content=False,
                timeout=urllib3.Timeout(connect=_TIMEOUT_SECONDS, read=_TIMEOUT_SECONDS + seconds),
            )
            try:
                if answer.status not in (200, 201, 202, 404):
                    what = path if method == "GET" else f"{method} {path}"
                    raise _refused(configuration.host, what, answer)
                yield answer
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as exc:
            raise NoAnswer(
                f"No Kubernetes answers at '{configuration.host}': {_reason(exc)}. "
                "Start the cluster, or set KUBECONFIG to one that runs."
            ) from exc


def _headers(configuration: Any) -> dict[str, str]:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    for setting in configuration.auth_settings().values():
        headers[setting["key"]] = setting["value"]
    return headers


def _refused(host: str, what: str, answer: Any) -> pulumi.RunError:
    problem = f"{answer.status} {answer.reason}{_details(answer.data)}"
    if answer.status >= 500:
        return NoAnswer(
            f"The cluster at '{host}' can't answer '{what}': {problem}. Try again, or look "
            "at its nodes ('kubectl get nodes')."
        )
    return pulumi.RunError(
        f"The cluster at '{host}' refuses '{what}': {problem}. Use a kubeconfig whose user may "
        "read nodes, namespaces and all in the stack's, and make and delete ConfigMaps there."
    )


def _details(body: bytes) -> str:
    """Return the message of a Kubernetes `Status`, in brackets; nothing for another body."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({message})"


def _reason(exc: BaseException) -> str:
    """Return the last, most exact part of one of urllib3's nested messages."""
    return str(getattr(exc, "reason", None) or exc).rsplit(": ", 1)[-1].rstrip(".")
