"""What a bucket holds that its stack did not put there, which `destroy` must not delete.

The stack's own are what `Folder` uploaded (it is named after its content or, of an earlier dlstack,
carries a mark), everything below a bucket's `own_prefixes`, and the bucket's own mark.
"""

from collections.abc import Sequence

from store import folders
from store.client import Client
from store.contents import Contents, Version
from store.dialect import OWN_PREFIX
from store.errors import StoreError
from store.marks import mark
from store.parallel import in_parallel
from store.urls import S3Url

_NAMES_SHOWN = 3

_WRITTEN = ("blobs/", "folders/", "code/", "data/", "runs/", "models/", "packages/")
"""What a stack's uploads begin with: an unfinished one of them is of one that was killed."""


def keys(client: Client, bucket: str, held: Contents, own_prefixes: Sequence[str]) -> list[str]:
    """Return the keys of what isn't the stack's own: objects, old versions, unfinished uploads."""
    rest = [
        version
        for version in held.versions
        if not version.is_delete_marker
        and not version.key.startswith(OWN_PREFIX)
        and not folders.is_own(version.key)
        and not version.key.startswith(tuple(own_prefixes))
    ]

    def is_own(version: Version) -> bool:
        return mark(client, S3Url(bucket, version.key), version.id) is not None

    foreign = {
        version.key for version, own in zip(rest, in_parallel(is_own, rest), strict=True) if not own
    }
    uploads = {upload.key for upload in held.uploads if not upload.key.startswith(_WRITTEN)}
    return sorted(foreign | uploads)


def holding(client: Client, bucket: str, held: Contents, own_prefixes: Sequence[str]) -> str:
    """Return what is foreign in a bucket, in words; empty if nothing is."""
    foreign = keys(client, bucket, held, own_prefixes)
    if not foreign:
        return ""
    versions = " (older and deleted versions count: it keeps them)" if held.is_versioned else ""
    return f"the bucket '{bucket}' holds {count(foreign)}{versions}, such as {quoted(foreign)}"


def refusal(holdings: Sequence[str]) -> StoreError:
    """Return the error of a `destroy` that would delete what `holding` said."""
    what = "; ".join(holdings)
    return StoreError(
        f"'pulumi destroy' was not told to delete what this stack did not put there: {what}. "
        "Copy or remove them, or run 'pulumi config set "
        "dlstack:forceDestroy true' and 'pulumi destroy' again to delete them."
    )


def count(found: Sequence[str]) -> str:
    """Return how many objects there are, in words: `1 object`."""
    return "1 object" if len(found) == 1 else f"{len(found)} objects"


def quoted(found: Sequence[str]) -> str:
    """Return the first few keys, for a message."""
    return ", ".join(f"'{key}'" for key in found[:_NAMES_SHOWN])
