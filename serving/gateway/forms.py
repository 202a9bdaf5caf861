"""Picture files in the field of a form: read into memory, within the gateway's limits."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

FORM_FIELD = "images"
"""As the managed services' RESTful interface calls it: a contract with existing clients."""

MOST_FILES = 16
MOST_FILE_BYTES = 4 * 2**20
MOST_REQUEST_BYTES = 16 * 2**20


async def read_pictures(request: Request) -> tuple[list[str], list[bytes]]:
    """Return names and contents of the files in the form field.

    Raises:
        HTTPException: no such form, no file, or more than the limits allow.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(
            415, f"Send multipart/form-data with picture files in the field '{FORM_FIELD}'."
        )
    parser = MultiPartParser(request.headers, _limited(request), max_files=MOST_FILES)
    # All in memory: the file system may be read-only, and the whole request is limited.
    parser.spool_max_size = MOST_REQUEST_BYTES
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"The form can't be read: {error.message}") from None
    names: list[str] = []
    pictures: list[bytes] = []
    try:
        for value in form.getlist(FORM_FIELD):
            if not isinstance(value, UploadFile):
                raise HTTPException(400, f"The field '{FORM_FIELD}' must hold files.")
            content = await value.read()
            if len(content) > MOST_FILE_BYTES:
                raise HTTPException(
                    413, f"'{value.filename}' is larger than {MOST_FILE_BYTES >> 20} MiB."
                )
            names.append(value.filename or f"picture {len(names) + 1}")
            pictures.append(content)
    finally:
        await form.close()
    if not pictures:
        raise HTTPException(400, f"The form has no file in the field '{FORM_FIELD}'.")
    return names, pictures


async def _limited(request: Request) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_REQUEST_BYTES:
            raise HTTPException(413, f"The request is larger than {MOST_REQUEST_BYTES >> 20} MiB.")
        yield chunk
