"""The page's files: in the folder `web` of this package, which may be in a zip archive."""

from __future__ import annotations

import hashlib
import mimetypes
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FRESH = {"cache-control": "no-cache"}
"""To be asked for again each time: parts of two versions don't fit together."""


def routes() -> list[Route]:
    """Return `/`, which is the page, and `/web/NAME` for each file. All are read now, and once."""
    web = resources.files(__package__).joinpath("web")
    contents = {file.name: file.read_bytes() for file in web.iterdir()}
    tags = {name: f'"{hashlib.sha256(content).hexdigest()}"' for name, content in contents.items()}

    async def page(_: Request) -> Response:
        return Response(contents["index.html"], media_type="text/html", headers=_FRESH)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in contents:
            raise HTTPException(404)
        headers = {"etag": tags[name]} | _FRESH
        if tags[name] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(contents[name], media_type=mimetypes.guess_type(name)[0], headers=headers)

    return [Route("/", page), Route("/web/{name}", file)]
