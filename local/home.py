"""Where the embedded platform keeps its files: one folder, outside the clone."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import person
from .console import LocalError
from .durable import settle

# Of the cluster's files, what the person behind `sudo` may look at, and what is theirs.
_SEEN = {"": 0o711, "pids": 0o755, "pki": 0o711, "pki/ca.crt": 0o644}
_GIVEN = ("bin", "pki/admin.*")
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The folder `~/.dlstack` (environment variable DLSTACK_HOME) and what lies in it."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The folder that DLSTACK_HOME names, or else that of the person, also behind `sudo`.

        Raises:
            LocalError: its path can't be in a list of paths, as PATH and KUBECONFIG are, or is no
                path of this machine.
        """
        default = person.home_folder() / ".dlstack"
        root = Path(os.environ.get("DLSTACK_HOME") or default).resolve()
        if any(character in str(root) for character in (os.pathsep, "\n")):
            raise LocalError(
                f"the path {str(root)!r} has a '{os.pathsep}' or a line break.",
                "Set DLSTACK_HOME to a folder whose path has none.",
            )
        try:
            root.exists()
        except OSError as error:
            raise LocalError(
                f"{str(root)!r} can't be a folder: {error.strerror}.",
                "Set DLSTACK_HOME to another.",
            ) from error
        return cls(root)

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

    @property
    def lost_cluster(self) -> Path:
        """A mark: what the cluster had is lost, so the next `pulumi up` has to compare."""
        return self.stacks / "lost-cluster"

    def make_room(self, gibibytes: int) -> None:
        """Make the folder.

        Raises:
            LocalError: it can't be made, or its disk has less than `gibibytes` GiB free.
        """
        missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        try:
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            person.hand_over(*missing)
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
        # What a build says may have the password of a package index in it.
        for private in (self.stacks, self.cache / "logs"):
            private.mkdir(parents=True, exist_ok=True)
            private.chmod(0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one command.

        Raises:
            LocalError: another command holds it.
        """
        with open(self.root / "lock", "a+") as lock:
            person.hand_over(self.root / "lock")
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
            try:
                yield
            finally:
                self.hand_over()

    def hand_over(self) -> None:
        """Give the person who called `sudo` what root made, but for the cluster's own files.

        Of these the person gets the administrator's kubeconfig and the folder of `kubectl`, and
        sees which processes run.
        """
        if person.behind_sudo() is None:
            return
        # Go has more files than all the rest, and new ones only after a build, which has a log.
        begun = (self.root / "lock").stat().st_mtime
        logs = (self.cache / "logs").glob("*.log")
        built = any(log.stat().st_mtime >= begun for log in logs)
        leaving = (self.platform, *(() if built else (self.cache / "go",)))
        person.hand_over(self.root, leaving=leaving)
        for name, mode in _SEEN.items():
            if (self.platform / name).exists():
                (self.platform / name).chmod(mode)
        person.hand_over(*(path for name in _GIVEN for path in self.platform.glob(name)))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody but its owner can read, whole or not at all.

    One that has this content already is left alone: what is on the disk need not get there again.
    """
    with contextlib.suppress(OSError):
        if path.read_bytes() == content and path.stat().st_mode & 0o777 == 0o600:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    settle(temporary, path)
