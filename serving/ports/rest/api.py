"""TensorFlow Serving's REST API, whatever carries it: what a method, a path and a body ask for.

Paths, texts and codes follow `model_servers/http_rest_api_handler.cc` and `http_server.cc`. A
framework's router would be in the way: paths are matched without regard to case, and a query string
makes a request malformed. Nothing here waits: the transports run the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from ... import cors, metrics
from ...budget import LARGE_BYTES, Hold
from ...config import ServerConfig
from ...errors import InvalidArgument, as_serving_error
from ...models.registry import Models
from ...predict.status import model_metadata, model_status, signature_defs
from ...wire import json_errors
from .body import unpack
from .methods import METHODS, Method

_TARGET = (
    r"(?i:/v1/models(?:/(?P<name>[^/:]+))?"
    r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?)"
)
_RUN = re.compile(_TARGET + r":(?P<method>(?i:classify|regress|predict))")
_LOOK = re.compile(_TARGET + r"(?P<metadata>(?i:/metadata))?")

_MAX_INT64 = 2**63 - 1
_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n"
    b"</BODY></HTML>\n"
)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back, but for `content-length` and `headers` of the whole port."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the path of a request for predict, classify or regress says."""

    api: str
    """`predict`, `classify` or `regress`, as the metrics call it."""
    method: Method
    name: str
    number: int | None
    label: str

    @property
    def target(self) -> tuple[str, int | None, str]:
        """Name, version and label of the model."""
        return self.name, self.number, self.label

    def parse(self, content: bytes, hold: Hold, *, gzip: bool) -> Any:
        """Return the request that a body is, for `method.read`.

        Args:
            content: the body.
            hold: gets what it takes unpacked and parsed.
            gzip: whether it is packed.

        Raises:
            ServingError: it is no such request, or there is no memory for it.
        """
        if gzip:
            content = unpack(content)
            hold.add(len(content))
        if len(content) > LARGE_BYTES:
            # For the brackets of all lists.
            hold.add(len(content))
        return self.method.parse(content, hold.add)

    def is_long(self, size: int, *, gzip: bool) -> bool:
        """Whether reading a body of so many bytes would hold up an event loop."""
        return gzip or size > self.method.short_bytes


class RestApi:
    """The meaning of requests.

    Args:
        models: what is served.
        config: of the server.
        metrics_path: answers with the metrics, in Prometheus' text form; empty: nothing does.
    """

    def __init__(self, models: Models, config: ServerConfig, metrics_path: str) -> None:
        self._metrics_path = metrics_path
        self._models = models
        self.headers: cors.Headers = ()
        """Of every response, that to a request without a token included."""
        if config.rest_api_enable_cors_support:
            self.headers = cors.headers(token=bool(config.token_file))

    def answer_unread(
        self, method: str, path: str, headers: Mapping[bytes, bytes]
    ) -> Response | None:
        """Answer what needs no body; None: the rest of this class has the answer.

        Args:
            method: in capitals.
            path: as it came, with the query string.
            headers: names in lower case.
        """
        if not path.isascii():
            # As libevent's parser of addresses has it; in an address such a character is a %XX.
            shown = path.encode("latin-1").decode(errors="replace")
            return failed(InvalidArgument(f"Malformed request: {method} {shown}"))
        if method == "OPTIONS":
            origin = headers.get(b"origin", b"")
            return Response(200 if b"http://" in origin or b"https://" in origin else 400, b"")
        if self._metrics_path and path == self._metrics_path:
            return Response(200, metrics.page().encode(), b"text/plain")
        if not path.lower().startswith("/v1/"):
            return Response(404, _NOT_FOUND_PAGE, b"text/html")
        return None

    def prediction(self, method: str, path: str) -> Prediction | None:
        """Return what is to be predicted; None: `look` has the answer.

        Raises:
            ServingError: there can be no such version.
        """
        match = _RUN.fullmatch(path) if method == "POST" else None
        if match is None or not match["name"]:
            return None
        api = match["method"].lower()
        return Prediction(api, METHODS[api], *_target(match))

    def look(self, method: str, path: str) -> Response:
        """Answer with status or metadata of a model; never raises."""
        try:
            return Response(200, self._look(method, path).encode())
        except Exception as error:
            return failed(error)

    def _look(self, method: str, path: str) -> str:
        match = _LOOK.fullmatch(path) if method == "GET" else None
        if not match:
            raise InvalidArgument(f"Malformed request: {method} {path}")
        if not match["name"]:
            raise InvalidArgument("Missing model name in request.")
        name, number, label = _target(match)
        if match["metadata"]:
            with self._models.lease(name, number, label) as version:
                response = model_metadata(version)
                definitions = signature_defs(version)
            # Not as one message: its JSON form has an `@type` beside the signatures.
            spec, signatures = _json(response.model_spec), _json(definitions)
            return f'{{\n"model_spec":{spec},\n"metadata": {{"signature_def": {signatures}}}\n}}\n'
        return _json(model_status(self._models.statuses(name, number)))


def _json(message: Message) -> str:
    text: str = json_format.MessageToJson(
        message,
        indent=1,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=False,
    )
    return text


def failed(error: BaseException) -> Response:
    """Return the response to a request that failed."""
    known = as_serving_error(error)
    return Response(known.http_status, json_errors.body(known.message))


def _target(match: re.Match[str]) -> tuple[str, int | None, str]:
    """Return name, version and label of a matched path."""
    number = None
    if match["version"]:
        digits = match["version"].lstrip("0") or "0"
        # Of more than a few thousand digits Python makes no number.
        if len(digits) > len(str(_MAX_INT64)) or int(digits) > _MAX_INT64:
            raise InvalidArgument(f"Failed to convert version: {match['version']} to numeric.")
        number = int(digits)
    return unquote(match["name"]), number, unquote(match["label"] or "")
