"""A port of this machine that leads to a pod, by way of the cluster's API.

So what a stack has in the cluster is reached from wherever the API is, and is open to no network.
As `kubectl port-forward` does it; but a pod that is gone is followed by the next one that is Ready.
"""

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pulumi

from . import api, kubeconfig, websocket
from .clusters import Cluster

_PROTOCOL = "v4.channel.k8s.io"
"""Each message begins with the number of its channel. The first one of each is the port's."""

_DATA, _ERROR = 0, 1
"""The channels."""

_CHUNK = 128 * 1024
"""Bytes."""

_QUIET_SECONDS = 20
"""After so long without a word it is asked whether the other end is there. Balancers before a
cluster's API forget connections that are quiet for a minute."""

_STALL_SECONDS = 60
"""How long the API may take to accept what is sent."""

_BUSY_SECONDS = 0.2
"""Until the next try where nothing can be accepted: all of the process' files are open, say."""

_forwards: dict[tuple[str, ...], "PortForward"] = {}
_lock = threading.Lock()


def to(cluster: Cluster, namespace: str, component: str, port: str | int) -> "PortForward":
    """Return the way to a port of a component's pods. A process has one, as long as it lives.

    Nothing is asked of the cluster before somebody connects to it.

    Args:
        cluster: where the pods are.
        namespace: of the pods.
        component: their label `app.kubernetes.io/name`.
        port: its name; or its number, for one that the pod opens to itself only.
    """
    place = (kubeconfig.name(), cluster["context"], cluster["uid"], namespace, component)
    key = (*place, str(port))
    with _lock:
        if key not in _forwards:
            _forwards[key] = PortForward(cluster, namespace, component, port)
        return _forwards[key]


class PortForward:
    """A listener on 127.0.0.1. See `to`."""

    def __init__(
        self, cluster: Cluster, namespace: str, component: str, port: str | int, at: int = 0
    ) -> None:
        """Listen, until `close` or the end of the process.

        Args:
            cluster, namespace, component, port: see `to`.
            at: the port of this machine; 0: any that is free.

        Raises:
            OSError: that port is taken.
        """
        self._cluster, self._namespace = cluster, namespace
        self._component, self._port = component, port
        self._pod = ""
        """Query and path of the last pod that answered."""
        self._problem = ""
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", at), backlog=128)
        threading.Thread(target=self._accept, name="port-forward", daemon=True).start()

    @property
    def port(self) -> int:
        """The port of this machine."""
        return int(self._listener.getsockname()[1])

    def require(self) -> None:
        """Raise NoAnswer unless there is a pod that is Ready."""
        self._ready_pod()

    def problem(self) -> str:
        """Return why the last connection could not be passed on; empty if it could."""
        return self._problem

    def close(self) -> None:
        """Listen no longer. Open connections go on to their end."""
        self._closed.set()
        # `close` alone leaves `accept` waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                self._problem = str(error)
                self._closed.wait(_BUSY_SECONDS)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, ExitStack() as stack:
            try:
                remote, received = self._connect(stack)
                said = _pass_on(client, remote, received)
            # What breaks off is seen by both ends, which try again.
            except (pulumi.RunError, OSError) as error:
                said = str(error)
            self._problem = said
            if said:
                # The cluster may know a pod for long that is of no use any more: one was evicted.
                self._pod = ""

    def _connect(self, stack: ExitStack) -> tuple[Any, Any]:
        """Open a connection to the pod that answered last, or else to one that is Ready.

        Raises:
            NoAnswer: there is none, or it can't be reached.
        """
        if self._pod:
            with contextlib.suppress(api.NoAnswer):
                return stack.enter_context(api.websocket(self._cluster, self._pod, _PROTOCOL))
        pod = self._ready_pod()
        connected = stack.enter_context(api.websocket(self._cluster, pod, _PROTOCOL))
        self._pod = pod
        return connected

    def _ready_pod(self) -> str:
        pods = f"/api/v1/namespaces/{self._namespace}/pods"
        label = quote(f"app.kubernetes.io/name={self._component}", safe="")
        ready = [
            (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"], number)
            for pod in api.items(self._cluster, f"{pods}?labelSelector={label}")
            if _is_ready(pod) and (number := _number(pod, self._port))
        ]
        if not ready:
            raise api.NoAnswer(f"no pod of it is Ready in the namespace '{self._namespace}'")
        _, name, number = max(ready)
        return f"{pods}/{name}/portforward?ports={number}"


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod.get("status", {}).get("conditions", [])
    )


def _number(pod: Mapping[str, Any], name: str | int) -> int | None:
    if isinstance(name, int):
        return name
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", []):
            if port.get("name") == name:
                return int(port["containerPort"])
    return None


def _pass_on(client: socket.socket, remote: Any, received: Any) -> str:
    """Pass all on both ways, until one end closes; return what the cluster said was wrong.

    Args:
        client: of this machine.
        remote: of the WebSocket; TLS, as a rule.
        received: to read from it.
    """
    said: list[str] = []
    messages, seen = websocket.Messages(), set()
    remote.settimeout(_STALL_SECONDS)
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        selector.register(remote, selectors.EVENT_READ)
        asked = False
        # The ports' numbers come at once, maybe together with the answer's head.
        ready = {remote}
        while True:
            if remote in ready:
                asked = False
                for kind, message in messages.read(received.read1(_CHUNK)):
                    if kind == websocket.CLOSE:
                        return "".join(said)
                    if kind == websocket.PING:
                        remote.sendall(websocket.frame(message, websocket.PONG))
                    if kind != websocket.BINARY or not message:
                        continue
                    channel = message[0]
                    if channel not in seen:
                        seen.add(channel)
                    elif channel == _DATA:
                        client.sendall(memoryview(message)[1:])
                    elif channel == _ERROR:
                        said.append(message[1:].decode(errors="replace"))
            if client in ready:
                if not (content := client.recv(_CHUNK)):
                    remote.sendall(websocket.frame(b"", websocket.CLOSE))
                    return "".join(said)
                remote.sendall(websocket.frame(bytes([_DATA]) + content))
            if _has_more(remote):
                ready = {remote}
                continue
            ready = {key.fileobj for key, _ in selector.select(_QUIET_SECONDS)}
            if not ready:
                if asked:
                    return f"the cluster was silent for {2 * _QUIET_SECONDS} s"
                remote.sendall(websocket.frame(b"", websocket.PING))
                asked = True


def _has_more(remote: Any) -> bool:
    """Say whether there is something to read that is not to be waited for: TLS comes in records."""
    if isinstance(remote, ssl.SSLSocket):
        return remote.pending() > 0
    # urllib3's TLS inside of the TLS of a proxy.
    outer = getattr(remote, "socket", None)
    return outer is not None and bool(
        remote.sslobj.pending() or remote.incoming.pending or _has_more(outer)
    )
