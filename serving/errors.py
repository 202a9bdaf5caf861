"""Errors of the model server that know no transport, and the one table from codes to gRPC and HTTP.

Codes and texts are TensorFlow Serving's (`util/net_http`, `model_servers/http_rest_api_util.cc`),
because clients match on them.
"""

from __future__ import annotations

import logging
import secrets
from enum import IntEnum

log = logging.getLogger(__name__)


class Code(IntEnum):
    """Canonical status codes (`google/rpc/code.proto`): gRPC and TensorFlow share the numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS: dict[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


class ServingError(Exception):
    """A request or a load that failed, with the code its caller shall see."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """Return the status of an HTTP response that carries it."""
        return HTTP_STATUS[self.code]

    def __str__(self) -> str:
        """As absl prints a status: `NOT_FOUND: Servable not found ...`."""
        return f"{self.code.name}: {self.message}"


class InvalidArgument(ServingError):
    """The request can never succeed as it is."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)


class TooLarge(InvalidArgument):
    """The request can never succeed: it is larger than the server may take."""

    @property
    def http_status(self) -> int:
        """Return the status of an HTTP response that carries it."""
        return 413


class NotFound(ServingError):
    """No such model, version or signature is loaded."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.NOT_FOUND, message)


class FailedPrecondition(ServingError):
    """The request does not fit the state of the server."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.FAILED_PRECONDITION, message)


class Unimplemented(ServingError):
    """TensorFlow Serving offers this; this server does not."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNIMPLEMENTED, message)


def as_serving_error(error: BaseException) -> ServingError:
    """Return `error` itself when a caller may see it; log anything else in full and hide it.

    The id lets an operator find the traceback that belongs to a client's report.
    """
    if isinstance(error, ServingError):
        return error
    reference = secrets.token_hex(4)
    log.error("internal error %s", reference, exc_info=error)
    return ServingError(Code.INTERNAL, f"Internal error {reference}; see the server's log.")
