"""Picture files in the field of a form: read into memory, within the gateway's limits."""

from __future__ import annotations

from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .memory import Body

FORM_FIELD = "images"
"""As the managed services' RESTful interface calls it: a contract with existing clients."""

SIGNATURE_FIELD = "signature_name"
"""May say which signature to ask, as in REST's JSON."""

MOST_FILES = 64


class Form(NamedTuple):
    """What a form asks for."""

    names: list[str]
    pictures: list[bytes]
    signature: str
    """Empty: whichever takes pictures."""


async def read_form(request: Request, body: Body, most_files: int) -> Form:
    """Return names and contents of the files in the form field.

    Raises:
        HTTPException: no such form, no file, or more than the limits allow.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(
            415, f"Send multipart/form-data with picture files in the field '{FORM_FIELD}'."
        )
    # One more than allowed, to tell it in words of our own.
    parser = MultiPartParser(request.headers, body.chunks(), max_files=most_files + 1)
    # All in memory: the file system may be read-only, and the whole request is limited.
    parser.spool_max_size = 2**62
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise _too_many(most_files) from None
        raise HTTPException(400, f"The form can't be read: {error.message}") from None
    names: list[str] = []
    pictures: list[bytes] = []
    try:
        files = form.getlist(FORM_FIELD)
        if len(files) > most_files:
            raise _too_many(most_files)
        for value in files:
            if not isinstance(value, UploadFile):
                raise HTTPException(400, f"The field '{FORM_FIELD}' must hold files.")
            names.append(value.filename or f"picture {len(names) + 1}")
            pictures.append(await value.read())
            await value.close()
        signature = form.get(SIGNATURE_FIELD, "")
    finally:
        await form.close()
    if not pictures:
        raise HTTPException(400, f"The form has no file in the field '{FORM_FIELD}'.")
    if not isinstance(signature, str):
        raise HTTPException(400, f"The field '{SIGNATURE_FIELD}' must hold a name, not a file.")
    return Form(names, pictures, signature)


def _too_many(most: int) -> HTTPException:
    return HTTPException(
        413, f"The form has more than {most} files. Send the others in another request."
    )
