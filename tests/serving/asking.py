"""Calls to a model server, and waiting for what they bring about."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2

from tests.serving.conftest import model_stub
from tests.serving_fixtures import ModelServer


def http_call(
    server: ModelServer,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Ask over HTTP; return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    try:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        # A server that has had enough says so, and may close the connection before all is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, content, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def refused(call: Callable[[Any], Any], request: Any) -> tuple[str, str]:
    """Return code and text of the error that a call over gRPC ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code().name, caught.value.details()


def outcome(future: Any) -> tuple[str, str]:
    """Return code and text that a call over gRPC has ended with."""
    error = future.exception(timeout=100)
    return ("OK", "") if error is None else (error.code().name, error.details())


def statuses(server: ModelServer) -> dict[int, str]:
    """Return the state of each version of the server's model."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = server.name
    answer = model_stub(server).GetModelStatus(request)
    state = get_model_status_pb2.ModelVersionStatus.State.Name
    versions = [entry.version for entry in answer.model_version_status]
    assert versions == sorted(versions, reverse=True), "highest first"
    return {entry.version: state(entry.state) for entry in answer.model_version_status}
