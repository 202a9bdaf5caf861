"""Which objects of a bucket dlstack has put there: by their keys, and by what lies beside them.

For buckets that somebody else has made, where keys alone may be anybody's: `models/` is a name that
others use as well.
"""

import re
from collections.abc import Iterable

from store import folders
from store.models import CLAIM_FILE, MANIFEST_FILE
from store.objects import StoredObject

RUN_DIGITS = 12
"""Of a run hash, in the name of the run's folder (docs/contracts.md)."""
RECORD_FILE = "run.json"
"""Of a run: there before anything else of it."""

_FOLDER = re.compile(rf"(?:runs/[0-9a-f]{{{RUN_DIGITS}}}|models/[^/]+/[1-9][0-9]*)/(?=.)")
"""What keys of a run and of a version begin with."""
_PACKAGE = re.compile(r"packages/[^/]+/(?:wheels\.json|[0-9a-f]{64}/[^/]+)")
_SIGNS = frozenset({RECORD_FILE, CLAIM_FILE, MANIFEST_FILE})
"""Names of objects directly in such a folder that nobody but dlstack puts there."""


def folder_of(key: str) -> str:
    """Return the folder of the run or the version that a key is of, with its slash; or nothing."""
    found = _FOLDER.match(key)
    return found[0] if found else ""


def is_named_so(key: str) -> bool:
    """Say whether dlstack puts objects under such keys. Others may do it, too."""
    return bool(folder_of(key) or folders.is_own(key) or _PACKAGE.fullmatch(key))


def among(entries: Iterable[StoredObject]) -> list[StoredObject]:
    """Return those of a whole bucket's objects that dlstack has put there, but for its marks."""
    listed = [entry for entry in entries if is_named_so(entry.path)]
    folders_of_ours = {
        folder
        for entry in listed
        if (folder := folder_of(entry.path)) and entry.path.removeprefix(folder) in _SIGNS
    }
    return [
        entry
        for entry in listed
        if not (folder := folder_of(entry.path)) or folder in folders_of_ours
    ]
