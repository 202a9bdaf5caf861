"""Who takes away what nothing needs says so in the bucket, and who uploads waits meanwhile.

An upload puts the index of its folder first, and then looks for this mark. Whoever prunes puts the
mark first, and then looks for indexes. So of the two, one sees the other: no content is taken away
that an upload relies on.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from store.client import Client
from store.creation import create
from store.dialect import OWN_PREFIX
from store.errors import StoreError
from store.objects import changed_at, delete, write
from store.urls import S3Url

KEY = f"{OWN_PREFIX}-prune"
"""Of the mark, in the data bucket."""
_LEFT_BEHIND = timedelta(minutes=30)
"""An older one is of a process that was killed. Clocks may differ by a quarter of an hour: more is
more than signatures allow."""
_RENEW_SECONDS = 60.0
_MOST_SECONDS = 600.0
"""Whoever did not renew the mark for so long, as on a machine that slept, must not go on."""
_ASK_AGAIN_SECONDS = 1.0
_TELL_SECONDS = 10.0


class Turn:
    """The right to prune, as long as it is renewed."""

    def __init__(self, client: Client, url: S3Url) -> None:
        self._client, self._url = client, url
        self._renewed = time.time()

    def renew(self) -> None:
        """Say that this process still prunes: before it deletes, each time.

        Raises:
            StoreError: it said so too long ago, and somebody may have begun to upload.
        """
        since = time.time() - self._renewed
        if since > _MOST_SECONDS:
            raise StoreError(
                f"Nothing more is deleted: this process stood still for {since:.0f} s, and an "
                "upload may have begun meanwhile. Run the command again."
            )
        if since > _RENEW_SECONDS:
            write(self._client, self._url, b"")
            self._renewed = time.time()


@contextmanager
def held(client: Client, bucket: str) -> Iterator[Turn]:
    """Hold the mark of a bucket.

    Raises:
        StoreError: somebody else holds it.
    """
    url = S3Url(bucket, KEY)
    if _since(client, url) is not None or not create(client, url, b""):
        raise StoreError(
            f"Somebody else deletes what nothing needs in the bucket '{bucket}' just now. Try "
            f"again when that has ended. If it was killed: in {_LEFT_BEHIND.seconds // 60} min."
        )
    try:
        yield Turn(client, url)
    finally:
        # An error of before says more, and a mark that stays is told as such.
        with contextlib.suppress(StoreError):
            delete(client, url)


def wait(client: Client, bucket: str, tell: Callable[[str], None]) -> None:
    """Return when nobody prunes the bucket.

    Raises:
        StoreError: somebody has for ten minutes.
    """
    url, began, told = S3Url(bucket, KEY), time.monotonic(), 0.0
    while _since(client, url) is not None:
        waited = time.monotonic() - began
        if waited > _MOST_SECONDS:
            raise StoreError(
                f"'python -m infra prune' has been at work in the bucket '{bucket}' for "
                f"{waited:.0f} s. Run the command again when that has ended. If it was killed: "
                f"in {_LEFT_BEHIND.seconds // 60} min, or delete the object '{KEY}'."
            )
        if waited >= told:
            tell(f"Waiting for 'python -m infra prune', which is at work in '{bucket}'")
            told = waited + _TELL_SECONDS
        time.sleep(_ASK_AGAIN_SECONDS)


def _since(client: Client, url: S3Url) -> datetime | None:
    """Return when somebody last said that he prunes; take away what a killed process left."""
    since = changed_at(client, url)
    if since is not None and datetime.now(UTC) - since > _LEFT_BEHIND:
        delete(client, url)
        return None
    return since
