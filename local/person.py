"""The person behind `sudo`: whose platform it is, and as whom all that runs which needs no root."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Person:
    """A user of this machine."""

    uid: int
    gid: int
    name: str
    folder: Path
    """The home folder."""

    @property
    def variables(self) -> dict[str, str]:
        """What programs find their own files by, in place of root's."""
        return {"HOME": str(self.folder), "USER": self.name, "LOGNAME": self.name}

    @property
    def groups(self) -> list[int]:
        return os.getgrouplist(self.name, self.gid)


def behind_sudo() -> Person | None:
    """Who called `sudo`; None where this is nobody's sudo, or the checkout is not that person's.

    In a checkout of somebody else the person can't keep a stack's configuration. Root that works
    in its own checkout, also in a shell of `sudo -i`, works for itself.
    """
    uid = os.environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or not uid.isdecimal() or int(uid) in (0, os.getuid()):
        return None
    if _REPOSITORY.stat().st_uid != int(uid):
        return None
    try:
        entry = pwd.getpwuid(int(uid))
    except KeyError:
        return None
    return Person(entry.pw_uid, entry.pw_gid, entry.pw_name, Path(entry.pw_dir))


def home_folder() -> Path:
    """The home folder of the person, also behind `sudo`."""
    person = behind_sudo()
    return Path.home() if person is None else person.folder


def become() -> None:
    """Give root up for good and be the person who called `sudo`, if anybody did."""
    person = behind_sudo()
    if person is not None:
        os.setgroups(person.groups)
        os.setgid(person.gid)
        os.setuid(person.uid)
        os.environ.update(person.variables)


def as_person() -> dict[str, Any]:
    """Arguments of `subprocess` that start a program as the person who called `sudo`."""
    person = behind_sudo()
    if person is None:
        return {}
    return {"user": person.uid, "group": person.gid, "extra_groups": person.groups}


def variables() -> dict[str, str]:
    """Variables for such a program; none where nobody called `sudo`."""
    person = behind_sudo()
    return {} if person is None else person.variables


def hand_over(*paths: Path, leaving: Collection[Path] = ()) -> None:
    """Give root's files, and folders with what they hold, to the person who called `sudo`.

    Links are given themselves: what they lead to stays as it is.

    Args:
        leaving: folders that are given without what they hold.
    """
    person = behind_sudo()
    if person is None:
        return
    for path in paths:
        for file in _all(str(path), {str(folder) for folder in leaving}):
            with contextlib.suppress(FileNotFoundError):  # It went meanwhile.
                if os.lstat(file).st_uid == 0:
                    os.lchown(file, person.uid, person.gid)


def _all(path: str, leaving: Collection[str]) -> Iterator[str]:
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, folders, files in os.walk(path):
            below = [os.path.join(folder, name) for name in (*folders, *files)]
            yield from below
            folders[:] = [one for one in folders if os.path.join(folder, one) not in leaving]
