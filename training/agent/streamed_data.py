"""A data set that the boot file reads in the store: what it was when the run began, and is now."""

import hashlib
from dataclasses import dataclass

from store import folders
from store.client import Client
from store.errors import NoObject
from store.urls import S3Url
from training.agent.run_record import RunRecord
from training.command_line import TrainingError

_ALL = 2**256


@dataclass(frozen=True)
class Seen:
    """A data set as it was listed."""

    files: int
    bytes: int
    digest: str
    """Of paths, sizes and SHA-256s or ETags, in whatever order; 64 hexadecimal digits."""

    def __str__(self) -> str:
        return f"{self.files} file{'' if self.files == 1 else 's'}, {self.bytes / 1e6:.1f} MB"


def look(client: Client, url: S3Url) -> Seen:
    """List a data set.

    Raises:
        TrainingError: it was uploaded, and is not in the bucket any more.
    """
    try:
        found = folders.entries(client, url)
    except NoObject as error:
        raise TrainingError(
            f"dlstack:dataDir is not in the bucket any more. {error} 'pulumi up --refresh' uploads "
            "it again."
        ) from error
    files = size = total = 0
    for entry in found:
        text = f"{entry.path}\n{entry.size}\n{entry.sha256}{entry.etag}"
        total += int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
        files, size = files + 1, size + entry.size
    return Seen(files, size, f"{total % _ALL:064x}")


def begin(seen: Seen, url: S3Url, record: RunRecord) -> None:
    """Note down which data a run reads.

    Raises:
        TrainingError: there is none, or an earlier attempt at the run has read other data.
    """
    if not seen.files:
        raise TrainingError(
            f"dlstack:dataDir has no files: '{url}' is empty. 'pulumi up --refresh' uploads a "
            "local folder again; a URL needs files there."
        )
    before = record.reads({"files": seen.files, "bytes": seen.bytes, "digest": seen.digest})
    if before is not None and before.get("digest") != seen.digest:
        earlier = Seen(int(before.get("files", 0)), int(before.get("bytes", 0)), "")
        raise TrainingError(
            f"The data set '{url}' has changed since this run began: {earlier} then, {seen} now. "
            "What an earlier attempt has learned is of other data. 'pulumi up' begins a run with "
            "the data that is there now; to go on with this one, put the old data back."
        )


def changed(before: Seen, now: Seen) -> str:
    """Return a line if a data set is not what it was; else nothing."""
    if before == now:
        return ""
    return (
        f"The data set has changed while it was read: {before} at the start, {now} at the end. The "
        "model is of what was there at the start, as far as the boot file has read it by "
        "training.folders or training.streams. 'pulumi up' trains with what is there now"
    )
