"""Requests to the cluster's API: read, make or delete an object, watch a collection, read a log,
open a connection to a pod.

Raw requests with the kubeconfig's authentication: typed objects of a big cluster would
cost more than the rest of a `pulumi up` that changes nothing.

Each request says which cluster it means, and goes to no other (`clusters`).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pulumi

from . import authentication, kubeconfig
from .clusters import SYSTEM, Cluster, another, known_by

_TIMEOUT_SECONDS = 10

_EXPECTED = {"POST": (201, 404, 409)}
"""Status of the answers that say something, by method; of others 200, 202 and 404."""

_UPGRADE = {
    "Accept": "*/*",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    # It proves that no cache answers. Nothing caches what needs credentials.
    "Sec-WebSocket-Key": "ZGxzdGFjay1mb3J3YXJkcw==",
}

_known: set[tuple[str, str, str]] = set()
"""Kubeconfig, context and UID of the clusters that this process has looked at."""


class NoAnswer(pulumi.RunError):
    """The cluster can't be reached, or an answer broke off: trying again may help."""


class Forbidden(pulumi.RunError):
    """The kubeconfig's user may not do this."""


class NotThere(NoAnswer):
    """What a connection was to be opened to is gone."""


def identify(context: str, namespace: str = SYSTEM) -> Cluster:
    """Return the cluster that a context of the kubeconfig leads to; empty: its current one.

    Args:
        context: of the kubeconfig.
        namespace: whose UID tells the cluster from others.
    """
    with _sent(context, f"/api/v1/namespaces/{namespace}") as answer:
        if answer.status == 404 and namespace != SYSTEM:
            raise pulumi.RunError(
                f"The cluster at '{kubeconfig.server(context)}' has no namespace '{namespace}', "
                "and dlstack:createNamespace is false. Ask an administrator to make it, or set "
                "dlstack:namespace to one that is there."
            )
        if answer.status == 404:
            raise pulumi.RunError(
                f"The cluster at '{kubeconfig.server(context)}' has no namespace 'kube-system', "
                "whose UID tells clusters apart. Set KUBECONFIG to a Kubernetes cluster that is "
                "whole."
            )
        uid = str(json.loads(answer.data)["metadata"]["uid"])
    found = Cluster(context=context, uid=uid, server=kubeconfig.server(context))
    return found if namespace == SYSTEM else {**found, "namespace": namespace}


def get(cluster: Cluster, path: str) -> dict[str, Any] | None:
    """Return the answer of the cluster's API to GET `path`; None if there is no such object."""
    with _opened(cluster, path) as answer:
        return None if answer.status == 404 else dict(json.loads(answer.data))


def items(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    """Return the objects of the collection `path`; it may end in a query."""
    return list((get(cluster, path) or {}).get("items", []))


def create(cluster: Cluster, path: str, document: Mapping[str, Any]) -> bool:
    """Make the object `document` in the collection `path`; return False if it is there already."""
    with _opened(cluster, path, method="POST", document=document) as answer:
        if answer.status == 404:
            raise pulumi.RunError(
                f"The cluster has no '{path}' to make an object in. Run 'pulumi refresh', then "
                "'pulumi up'."
            )
        return bool(answer.status != 409)


def patch(cluster: Cluster, path: str, document: Mapping[str, Any]) -> None:
    """Merge `document` into the object `path`, unless it is gone."""
    with _opened(cluster, path, method="PATCH", document=document):
        pass


def delete(cluster: Cluster, path: str) -> None:
    """Delete the object `path`, unless it is gone already."""
    with _opened(cluster, path, method="DELETE"):
        pass


def watch(cluster: Cluster, path: str, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield the objects of the collection `path` as they are now, and then as they change.

    Args:
        cluster: which one is asked.
        path: of the collection, with a query.
        seconds: the end of the watch.
    """
    for kind, changed in events(cluster, path, seconds):
        if kind in ("ADDED", "MODIFIED"):
            yield changed


def events(cluster: Cluster, path: str, seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ADDED, MODIFIED or DELETED and the object, as `watch` does."""
    for line in lines(cluster, f"{path}&watch=true&timeoutSeconds={seconds}", seconds):
        event = json.loads(line)
        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            yield event["type"], event["object"]


def lines(cluster: Cluster, path: str, seconds: int) -> Iterator[bytes]:
    """Yield the lines of the answer to GET `path` as they arrive, without their ends.

    Args:
        cluster: which one is asked.
        path: with its query.
        seconds: how long the answer may be silent, beyond what the network may take.

    Raises:
        NoAnswer: it was silent for longer, or broke off.
    """
    with _opened(cluster, path, seconds) as answer:
        if answer.status == 404:
            return
        rest = b""
        for chunk in answer.stream(65536):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest


@contextmanager
def websocket(cluster: Cluster, path: str, protocol: str) -> Iterator[tuple[Any, Any]]:
    """Give the socket of a WebSocket to `path`, and the buffered file to read from it.

    It takes the same way as all requests: proxies, certificates and tokens are the kubeconfig's.

    Raises:
        NotThere: there is nothing at `path`.
        NoAnswer: it can't be opened now.
    """
    with _opened(cluster, path, headers={**_UPGRADE, "Sec-WebSocket-Protocol": protocol}) as answer:
        if answer.status == 404:
            raise NotThere(f"The cluster has no '{path.partition('?')[0]}'.")
        # What came with the answer's head is in the buffer of the file.
        yield answer.connection.sock, answer._fp.fp


@contextmanager
def _opened(cluster: Cluster, path: str, seconds: int = 0, **request: Any) -> Iterator[Any]:
    """Send a request (`_sent`) to `cluster`, or raise if the kubeconfig leads to another one."""
    context, uid = cluster["context"], cluster["uid"]
    looked_at = (kubeconfig.name(), context, uid)
    if uid and looked_at not in _known:
        found = identify(context, known_by(cluster))
        if found["uid"] != uid:
            raise another(cluster, found)
        _known.add(looked_at)
    with _sent(context, path, seconds, **request) as answer:
        yield answer


@contextmanager
def _sent(
    context: str,
    path: str,
    seconds: int = 0,
    *,
    method: str = "GET",
    document: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Any]:
    """Send a request; give its answer, of a status in `_EXPECTED`, whose body was not read yet.

    With `headers` of an upgrade the only good answer is that it takes place.
    """
    expected = (101, 404) if headers else _EXPECTED.get(method, (200, 202, 404))
    # 0.6 s, and the dynamic providers import this module without asking for anything.
    import urllib3
    from kubernetes import client

    configuration = authentication.configuration(context)
    with client.ApiClient(configuration) as api:
        try:
            answer = api.rest_client.pool_manager.request(
                method,
                configuration.host + path,
                body=None if document is None else json.dumps(document).encode(),
                headers={**_headers(configuration, method), **(headers or {})},
                preload_content=False,
                timeout=urllib3.Timeout(connect=_TIMEOUT_SECONDS, read=_TIMEOUT_SECONDS + seconds),
            )
            try:
                if answer.status == 401:
                    authentication.forget()
                if answer.status not in expected:
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


def _headers(configuration: Any, method: str) -> dict[str, str]:
    sent = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Accept": "application/json", "Content-Type": sent}
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
    refusal = Forbidden if answer.status == 403 else pulumi.RunError
    # A stack in a namespace that is given never asks for these.
    hint = (
        " Who has them in one namespace only sets dlstack:createNamespace to false."
        if what in ("/api/v1/namespaces", "/api/v1/namespaces/kube-system")
        else ""
    )
    return refusal(
        f"The cluster at '{host}' refuses '{what}': {problem}. Use a kubeconfig whose user has "
        f"the rights of docs/clusters.md.{hint}"
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
