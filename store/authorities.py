"""Certificates of authorities as a file, which is the only form that boto3 takes them in."""

import contextlib
import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=8)
def file_of(certificates: str) -> str:
    """Return the path of a file with these PEM texts, that others can't write to.

    It stays: a process of Pulumi's is killed at its end. The same text is the same file.
    """
    digest = hashlib.sha256(certificates.encode()).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else 0
    place = Path(tempfile.gettempdir(), f"dlstack-authorities-{user}-{digest}.pem")
    # mkstemp's file is this user's alone, and stays so under the other name.
    handle, temporary = tempfile.mkstemp(prefix="dlstack-authorities-", suffix=".pem")
    with os.fdopen(handle, "w") as file:
        file.write(certificates)
    # Somebody else's file of that name can't be replaced, and is not to be trusted.
    with contextlib.suppress(OSError):
        os.replace(temporary, place)
        return str(place)
    return temporary
