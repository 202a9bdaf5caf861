"""What a bucket holds that its stack did not put there, which `destroy` must not delete.

The stack's own are the objects that `Folder` uploaded, which carry a mark, and everything below a
bucket's `own_prefixes`.
"""

from collections.abc import Sequence

from store.client import Client
from store.errors import StoreError
from store.marks import marks

_NAMES_SHOWN = 3


def refuse(client: Client, bucket: str, keys: Sequence[str], own_prefixes: Sequence[str]) -> None:
    """Raise StoreError if one of the bucket's `keys` is not the stack's own."""
    rest = [key for key in keys if not key.startswith(tuple(own_prefixes))]
    foreign = sorted(set(rest) - set(marks(client, bucket, rest)))
    if foreign:
        raise StoreError(
            f"The bucket '{bucket}' holds {count(foreign)} that 'pulumi destroy' was not told "
            f"to delete, such as {quoted(foreign)}. Copy or remove them, or set "
            "dlstack:forceDestroy to true, run 'pulumi up' and then 'pulumi destroy'."
        )


def count(keys: Sequence[str]) -> str:
    """Return how many objects there are, in words: `1 object`."""
    return "1 object" if len(keys) == 1 else f"{len(keys)} objects"


def quoted(keys: Sequence[str]) -> str:
    """Return the first few keys, for a message."""
    return ", ".join(f"'{key}'" for key in keys[:_NAMES_SHOWN])
