"""Where the embedded platform keeps its files: one folder, outside the clone."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .console import LocalError

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The folder `~/.dlstack` (environment variable DLSTACK_HOME) and what lies in it."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        return cls(Path(os.environ.get("DLSTACK_HOME") or Path.home() / ".dlstack").resolve())

    @property
    def name(self) -> str:
        """What the machine knows this home by, beside others: its bridge and control group.

        The names of interfaces are short: this one leaves two of fifteen characters.
        """
        return f"dlstack-{hashlib.sha256(bytes(self.root)).hexdigest()[:5]}"

    @property
    def cache(self) -> Path:
        """What can be made again: programs, images, the data set.

        Entries carry the hash of what they are built from.
        """
        return self.root / "cache"

    @property
    def platform(self) -> Path:
        """The cluster: keys, etcd's data, containerd's images, volumes, logs, process ids."""
        return self.root / "platform"

    @property
    def stacks(self) -> Path:
        """Pulumi's state and the passphrase that encrypts the secrets in it."""
        return self.root / "pulumi"

    def make_room(self, gibibytes: int) -> None:
        """Make the folder.

        Raises:
            LocalError: it can't be made, or its disk has less than `gibibytes` GiB free.
        """
        try:
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(
                f"can't make the folder {self.root}: {error.strerror}.",
                "Set DLSTACK_HOME to a folder that you can write to.",
            ) from error
        free = shutil.disk_usage(self.root).free / 2**30
        if free < gibibytes:
            raise LocalError(
                f"the disk of {self.root} has {free:.1f} GiB free, and {gibibytes} GiB are needed.",
                "Free some, or set DLSTACK_HOME to a folder on a larger disk.",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one command.

        Raises:
            LocalError: another command holds it.
        """
        with open(self.root / "lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise LocalError(
                    f"another `python -m local` (process {lock.read().strip()})"
                    f" is at work in {self.root}.",
                    "Wait for it to end, or stop it.",
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield


def write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody but its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    temporary.rename(path)
