"""The gateway's paths: the page, its status, and predictions for pictures that come in a form."""

from __future__ import annotations

import base64
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import page, rest_proxy
from .backend import Backend, BackendError
from .forms import read_pictures
from .limits import BODY_SECONDS, MOST_PREDICTIONS, Predictions, TimedBodies
from .pictures import BadPicture, prepare_digit


def needs_no_token(path: str) -> bool:
    """Say whether a path is of the page itself, which asks for the token, or of the probes."""
    return path in ("/", "/healthz") or path.startswith("/web/")


class _Gateway:
    """The paths that this module answers by itself.

    Args:
        backend: the model server.
        tensorboard_url: where the page's link leads; empty: no link.
        predictions: counts those under way.
    """

    def __init__(self, backend: Backend, tensorboard_url: str, predictions: Predictions) -> None:
        self._backend = backend
        self._tensorboard_url = tensorboard_url
        self._predictions = predictions

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
            | {key: manifest[key] for key in shown if key in manifest}
        )

    async def _predict(self, request: Request) -> Response:
        self._predictions.refuse_if_full()
        names, pictures = await read_pictures(request)
        with self._predictions.one_more():
            pngs = []
            for name, picture in zip(names, pictures, strict=True):
                try:
                    pngs.append(await run_in_threadpool(prepare_digit, picture))
                except BadPicture as error:
                    raise HTTPException(400, f"Picture '{name}' can't be used: {error}.") from error
            version, outputs = await run_in_threadpool(self._backend.predict, pngs)
        seen = ["data:image/png;base64," + base64.b64encode(png).decode() for png in pngs]
        return JSONResponse(
            {"model_name": self._backend.model_name, "model_version": version, "files": names}
            | outputs
            | {"seen": seen}
        )


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _backend_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, BackendError)
    # The picture is sound: an error of the model server is not the client's fault.
    status = error.status if error.status in (429, 503, 504) else 502
    return JSONResponse({"error": str(error)}, status)


async def _client_gone(_: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # Nobody reads it; the code is nginx's and gRPC's for it.


def application(
    backend: Backend,
    tensorboard_url: str = "",
    *,
    max_predictions: int = MOST_PREDICTIONS,
    body_seconds: float = BODY_SECONDS,
) -> Starlette:
    """Return the gateway as an ASGI application."""
    predictions = Predictions(max_predictions)
    return Starlette(
        routes=[
            *page.routes(),
            *_Gateway(backend, tensorboard_url, predictions).routes(),
            rest_proxy.route(backend.http, backend.rest_url, backend.headers, predictions),
        ],
        middleware=[Middleware(TimedBodies, seconds=body_seconds)],
        exception_handlers={
            HTTPException: _http_error,
            BackendError: _backend_error,
            ClientDisconnect: _client_gone,
        },
        lifespan=predictions.threads,
    )
