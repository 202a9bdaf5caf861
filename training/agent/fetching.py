"""Code and data on their way from the store to the pod's disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from store import folders, room, slowness
from store.client import Client
from store.errors import NoObject, NoRoom
from store.patience import Patience
from store.urls import S3Url
from training.agent.disk import Disk
from training.command_line import TrainingError


def fetch(
    client: Client,
    key: str,
    url: S3Url,
    target: Path,
    *,
    disk: Disk,
    patience: Patience,
    say: Callable[[str], None],
) -> int:
    """Fetch what lies below `url` into a folder; return how many bytes that were.

    A store that is away meanwhile is waited for, and no file that is here is fetched again.

    Args:
        client: of the store.
        key: of the configuration, that names what is fetched.
        url: where it is.
        target: the folder.
        disk: of the folder.
        patience: with the store.
        say: takes a line, when it takes long.

    Raises:
        TrainingError: nothing is there, or the disk has no room for it.
        StoreError: it can't be fetched.
    """
    with _in_words(key, url):
        files = patience.ask(lambda: folders.entries(client, url))
    if not files:
        raise TrainingError(
            f"{key} has no files: '{url}' is empty. 'pulumi up --refresh' uploads a local "
            "folder again; a URL needs files there."
        )
    size = sum(entry.size for entry in files)
    disk.fetches(size)

    def progress(seconds: float) -> str:
        here = room.used(target)
        return (
            f"Fetching {key}: {room.in_gb(here)} of {room.in_gb(size)} in {seconds:.0f} s, "
            f"{here / 1e6 / seconds:.1f} MB/s"
        )

    with _in_words(key, url), slowness.told(say, progress):
        folders.fetch_entries(client, files, target, patience.ask)
    return size


@contextmanager
def _in_words(key: str, url: S3Url) -> Iterator[None]:
    try:
        yield
    except NoObject as error:
        if not folders.is_index(url):
            raise
        raise TrainingError(
            f"{key} is not in the bucket any more. {error} 'pulumi up --refresh' uploads it again."
        ) from error
    except NoRoom as error:
        raise TrainingError(
            f"{key}: {error} Give dlstack:flavour a bigger disk (dlstack:flavours), or free the "
            "node's."
        ) from error
