"""The gateway's paths: the page, its status, and predictions for pictures that come in a form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import form_predictions, page, rest_proxy
from .backend import Backend, BackendError
from .form_predictions import BadPictureError, UnfitModelError
from .forms import MOST_FILES, read_form
from .limits import BODY_SECONDS, Predictions, TimedBodies
from .memory import Bodies


def needs_no_token(path: str) -> bool:
    """Say whether a path is of the page itself, which asks for the token, or of the probes."""
    return path in ("/", "/healthz") or path.startswith("/web/")


class _Gateway:
    """The paths that this module answers by itself.

    Args:
        backend: the model server.
        tensorboard_url: where the page's link leads; empty: no link.
        predictions: counts those under way.
        bodies: counts their bytes.
        most_files: in one form.
    """

    def __init__(
        self,
        backend: Backend,
        tensorboard_url: str,
        predictions: Predictions,
        bodies: Bodies,
        most_files: int,
    ) -> None:
        self._backend = backend
        self._tensorboard_url = tensorboard_url
        self._predictions = predictions
        self._bodies = bodies
        self._most_files = most_files

    def routes(self) -> list[Route]:
        """Return the paths with what answers them."""
        return [
            Route("/healthz", self._healthz),
            Route("/status", self._status),
            Route("/v1/predict", self._predict, methods=["POST"]),
        ]

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _status(self, _: Request) -> Response:
        answer: dict[str, Any] = {
            "model_name": self._backend.model_name,
            "model_version": None,
            "state": "UNREACHABLE",
            "tensorboard_url": self._tensorboard_url,
        }
        try:
            state = await run_in_threadpool(self._backend.state)
        except BackendError as error:
            return JSONResponse(answer | {"error": str(error)})
        manifest = await run_in_threadpool(self._backend.manifest, state["version"])
        shown = ("metrics", "parameters", "run_hash", "created")
        return JSONResponse(
            answer
            | {"model_version": state["version"], "state": state["state"]}
            | ({"error": state["error"]} if state["error"] else {})
            | {key: manifest[key] for key in shown if key in manifest}
        )

    async def _predict(self, request: Request) -> Response:
        self._predictions.refuse_if_full()
        with self._bodies.counted(request) as body:
            names, pictures, signature = await read_form(request, body, self._most_files)
            with self._predictions.one_more():
                version, outputs = await run_in_threadpool(
                    form_predictions.predict, self._backend, names, pictures, signature
                )
        answer = {"model_name": self._backend.model_name, "model_version": version, "files": names}
        return json_response(answer | outputs)


def json_response(answer: Mapping[str, Any]) -> Response:
    """Return JSON that may have NaN and Infinity, as the model server's own answers do."""
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "surrogatepass"), media_type="application/json")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _backend_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, BackendError)
    # What else the model server refuses is not the client's fault.
    status = error.status if error.status in (413, 429, 503, 504) else 502
    headers = {"Retry-After": "1"} if status == 429 else None
    return JSONResponse({"error": str(error)}, status, headers)


async def _bad_request(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _client_gone(_: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # Nobody reads it; the code is nginx's and gRPC's for it.


def application(
    backend: Backend,
    predictions: Predictions,
    bodies: Bodies,
    *,
    tensorboard_url: str = "",
    most_files: int = MOST_FILES,
    body_seconds: float = BODY_SECONDS,
) -> Starlette:
    """Return the gateway as an ASGI application."""
    own = _Gateway(backend, tensorboard_url, predictions, bodies, most_files)
    return Starlette(
        routes=[
            *page.routes(),
            *own.routes(),
            rest_proxy.route(backend.http, backend.rest_url, backend.headers, predictions, bodies),
        ],
        middleware=[Middleware(TimedBodies, seconds=body_seconds)],
        exception_handlers={
            HTTPException: _http_error,
            BackendError: _backend_error,
            BadPictureError: _bad_request,
            UnfitModelError: _bad_request,
            ClientDisconnect: _client_gone,
        },
        lifespan=predictions.threads,
    )
