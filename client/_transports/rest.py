"""The REST transport: TF Serving's JSON interface over kept-alive HTTP/1.1 connections.

Only the standard library is used.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ..errors import ConnectionFailed, DeadlineExceeded, ServerError
from ..results import ModelStatus, VersionStatus
from ..specs import DTYPES, ModelMetadata, Signature, TensorSpec
from .base import COMPOSITES, CONNECT_SECONDS, Deadline, Endpoint
from .probe import DROPS, HTTP1, HTTP2, NOTHING, TLS, listens_inside, what_listens
from .proxies import proxy_for
from .tls import Security

if TYPE_CHECKING:
    from ..specs import Array

#: Backwards what TF Serving does to its statuses (model_servers/http_server.cc); 400 and 500 stand
#: for several, of which these are by far the most frequent.
_STATUS_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class RestTransport:
    """Calls one model on one server. Safe to use from many threads, one connection for each."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self._host = endpoint.host
        self._port = endpoint.port
        self._model = endpoint.model
        self._version = endpoint.version
        self._address = endpoint.address
        self._tls = security.tls
        self._context = security.tls.context() if security.tls else None
        self._headers = {"Content-Type": "application/json", **security.headers()}
        self._path = f"/v1/models/{quote(endpoint.model, safe='')}"
        if endpoint.version is not None:
            self._path += f"/versions/{endpoint.version}"
        elif endpoint.version_label is not None:
            self._path += f"/labels/{quote(endpoint.version_label, safe='')}"
        tls = security.tls is not None
        self._proxy = proxy_for(os.environ, "rest", endpoint.host, endpoint.port, tls=tls)
        if self._proxy is not None and not tls:
            # A proxy is asked for the whole address, and is told who asks.
            self._path = f"http://{endpoint.address}{self._path}"
            self._headers |= self._proxy.headers()
        # Appending to a deque and popping from it are atomic: no lock is needed.
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._closed = False
        # Whether it was ever the server's REST interface that answered here.
        self._answered = False

    def predict(
        self, signature: Signature, inputs: Mapping[str, Array], deadline: Deadline
    ) -> tuple[dict[str, Array], int | None]:
        """Return the outputs by name and the version that was asked for: the answer names none."""
        request = {
            "signature_name": signature.name,
            "inputs": {name: _to_json(array) for name, array in inputs.items()},
        }
        answer = self._call("POST", f"{self._path}:predict", deadline, request)
        try:
            outputs = answer["outputs"]
            if len(signature.outputs) == 1:
                # TF Serving leaves out the name of an only output.
                outputs = {name: outputs for name in signature.outputs}
            arrays = {
                name: _from_json(outputs[name], spec)
                for name, spec in sorted(signature.outputs.items())
            }
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise self._not_serving("an answer without the signature's outputs") from exc
        return arrays, self._version

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Return the signatures of the model."""
        answer = self._call("GET", f"{self._path}/metadata", deadline)
        try:
            definitions = answer["metadata"]["signature_def"]["signature_def"]
            return ModelMetadata(
                model=self._model,
                version=int(answer["model_spec"]["version"]),
                signatures={
                    name: Signature(
                        name, _specs(definition["inputs"]), _specs(definition["outputs"])
                    )
                    for name, definition in sorted(definitions.items())
                },
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise self._not_serving("metadata without signatures") from exc

    def status(self, deadline: Deadline) -> ModelStatus:
        """Return the state of the model's versions."""
        answer = self._call("GET", self._path, deadline)
        try:
            return ModelStatus(
                self._model,
                tuple(
                    VersionStatus(
                        version=int(entry["version"]),
                        state=entry["state"],
                        error_code=entry["status"]["error_code"],
                        error_message=entry["status"]["error_message"],
                    )
                    for entry in answer["model_version_status"]
                ),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise self._not_serving("a status without versions") from exc

    def close(self) -> None:
        """Close all connections, those of calls that are under way at their end."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _call(self, method: str, path: str, deadline: Deadline, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        try:
            status, answer = self._exchange(method, path, body, deadline)
        except TimeoutError as exc:
            raise self._too_late(deadline) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise self._broken(exc, deadline) from exc
        if status == 413:
            # Proxies say so in HTML.
            said = "The body is too large for the server, or for a proxy before it."
            raise ServerError(self._address, f"HTTP {status}", said)
        try:
            # TF Serving sends strings that are no text as the bytes they are.
            result = json.loads(answer.decode(errors="surrogateescape"))
        except ValueError as exc:
            raise self._not_serving(f"HTTP status {status} and no JSON") from exc
        if status == 200:
            self._answered = True
            return result
        if not isinstance(result, dict) or not isinstance(result.get("error"), str):
            raise self._not_serving(f"HTTP status {status} and no error text")
        if status == 504:
            raise self._too_late(deadline)
        raise ServerError(
            self._address, _STATUS_CODES.get(status, f"HTTP {status}"), result["error"]
        )

    def _exchange(
        self, method: str, path: str, body: bytes | None, deadline: Deadline
    ) -> tuple[int, bytes]:
        """Send one request over an idle connection or a new one; return status and body."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._exchange_over(self._connect(deadline), method, path, body, deadline)
        try:
            return self._exchange_over(connection, method, path, body, deadline)
        except TimeoutError:
            raise
        except (OSError, http.client.RemoteDisconnected):
            # The server closed the connection while it lay idle. No request of this interface
            # changes anything, so sending it again over a new one is safe.
            return self._exchange_over(self._connect(deadline), method, path, body, deadline)

    def _exchange_over(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
    ) -> tuple[int, bytes]:
        try:
            # A socket's timeout is for each operation: what is left is set anew before each.
            stream = connection.sock
            stream.settimeout(deadline.left())
            connection.request(method, path, body, self._headers)
            stream.settimeout(deadline.left())
            response = connection.getresponse()
            parts = []
            while True:
                stream.settimeout(deadline.left())
                part = response.read1()
                if not part:
                    break
                parts.append(part)
            if response.length:
                raise http.client.IncompleteRead(b"".join(parts), response.length)
            # read1, unlike read, leaves a response open at its end, and the connection blocked.
            response.close()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
            if self._closed:
                self.close()
        return response.status, b"".join(parts)

    def _connect(self, deadline: Deadline) -> http.client.HTTPConnection:
        proxy, seconds = self._proxy, CONNECT_SECONDS
        try:
            while True:
                connection = self._new_connection(min(deadline.left(), seconds))
                try:
                    connection.connect()
                    break
                except TimeoutError:
                    # Behind one address are many servers; after a node was lost, some lead nowhere
                    # until the others have noticed. The next attempt may lead to another.
                    connection.close()
                    if not deadline.allows(0):
                        raise
                    seconds *= 2
        except (OSError, UnicodeError) as exc:  # UnicodeError: not a name that DNS can have.
            refused = isinstance(exc, (ConnectionRefusedError, socket.gaierror, UnicodeError))
            if self._context is not None and not refused:
                raise  # Something listens: the caller finds out whether it is TLS.
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            if proxy is not None:
                raise ConnectionFailed(
                    f"No connection to the proxy {proxy} ({reason}). Check that it runs, or have "
                    f"no_proxy name {self._host}.",
                    transient=True,
                ) from exc
            raise ConnectionFailed(
                f"No connection to {self._address} ({reason}). "
                "Check host and port, and that the server runs.",
                transient=True,
            ) from exc
        return connection

    def _new_connection(self, seconds: float) -> http.client.HTTPConnection:
        proxy, context = self._proxy, self._context
        host, port = (self._host, self._port) if proxy is None else (proxy.host, proxy.port)
        if context is None:
            return http.client.HTTPConnection(host, port, timeout=seconds)
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        if proxy is not None:
            connection.set_tunnel(self._host, self._port, proxy.headers())
        return connection

    def _broken(self, error: Exception, deadline: Deadline) -> ConnectionFailed:
        """Return why a connection broke; may block for some seconds to ask the port."""
        broke = f"The connection to {self._address} broke ({type(error).__name__})."
        if self._answered:
            # It is the right port: a server that is about to die takes connections and drops them.
            return ConnectionFailed(f"{broke} Check that the server runs.", transient=True)
        if self._proxy is not None:
            # No port can be asked behind it.
            return ConnectionFailed(
                f"No connection to {self._address} by way of the proxy {self._proxy} ({error}). "
                f"Check that the proxy lets it through, or have no_proxy name {self._host}."
            )
        timeout = min(1.0, deadline.seconds)
        listens = what_listens(self._host, self._port, timeout)
        if self._tls is not None and listens != NOTHING:
            try:
                listens = listens_inside(
                    self._address, self._host, self._port, listens, timeout, self._tls
                )
            except ConnectionFailed as exc:
                return exc
        if listens == TLS:
            return ConnectionFailed(
                f"{self._address} asks for TLS. Use it, or give the port of plain REST."
            )
        if listens == HTTP2:
            return ConnectionFailed(
                f"{self._address} speaks gRPC, not REST. Use the transport `grpc`, "
                "or give the server's REST port (TF Serving's own is 8501)."
            )
        return ConnectionFailed(
            f"{broke} Check that it is the server's REST port, and whether it asks for TLS.",
            transient=listens in (DROPS, HTTP1, NOTHING),
        )

    def _too_late(self, deadline: Deadline) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"No answer from {self._address} within {deadline.seconds:g} s. "
            "Allow a longer timeout, or send less at once."
        )

    def _not_serving(self, what: str) -> ConnectionFailed:
        if self._proxy is not None:
            return ConnectionFailed(
                f"{self._address}, or the proxy {self._proxy} before it, gave {what}, which is not "
                f"TensorFlow Serving's REST interface. Check the port, or have no_proxy name "
                f"{self._host}."
            )
        return ConnectionFailed(
            f"{self._address} gave {what}, which is not TensorFlow Serving's REST interface. "
            "Check the port."
        )


def _to_json(array: Array) -> Any:
    if array.dtype == object:
        return _map_leaves(array.tolist(), lambda raw: {"b64": base64.b64encode(raw).decode()})
    return array.tolist()


def _from_json(value: Any, spec: TensorSpec) -> Array:
    if spec.dtype == "string":
        return np.array(_map_leaves(value, _to_bytes), object)
    if spec.dtype == "bfloat16" or spec.dtype.startswith("float8"):
        return np.array(value, np.float32)
    # Where numpy has no such type, JSON's numbers are taken as they come.
    known = spec.dtype in DTYPES.values()
    return np.array(value, spec.dtype if known else None)


def _to_bytes(leaf: Any) -> bytes:
    # Outputs whose names end in `_bytes` come as {"b64": ...}, others as text.
    if isinstance(leaf, dict):
        return base64.b64decode(leaf["b64"])
    text: str = leaf
    return text.encode(errors="surrogateescape")


def _map_leaves(value: Any, convert: Any) -> Any:
    if isinstance(value, list):
        return [_map_leaves(item, convert) for item in value]
    return convert(value)


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: _spec(name, info) for name, info in sorted(tensors.items())}


def _spec(name: str, info: Mapping[str, Any]) -> TensorSpec:
    composite = ""
    if "coo_sparse" in info:
        composite = "sparse"
    elif "composite_tensor" in info:
        kind = info["composite_tensor"].get("type_spec", {}).get("type_spec_class", "")
        composite = COMPOSITES.get(kind, "composite")
    shape = info.get("tensor_shape", {"unknown_rank": True})
    # int64 is a string in protobuf's JSON, and an int for servers that write it by hand.
    sizes = [int(dim["size"]) for dim in shape.get("dim", ())]
    return TensorSpec(
        name,
        DTYPES.get(info["dtype"], info["dtype"]),
        None if shape.get("unknown_rank") else tuple(None if size < 0 else size for size in sizes),
        composite,
    )
