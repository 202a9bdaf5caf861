"""The files of a local folder that are sent, found as Git would: what is left out, links, names."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pulumi

from . import git, ignored
from .ignored import Ignored

MAX_PATH_BYTES = 1000
"""S3 takes keys of 1,024 bytes, with the prefix."""

_BAD_NAME = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")

Wanted = Callable[[str, bool], bool]
"""Says whether a path, of a folder or not, is to be sent: asked after the ignore files."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine whose files are sent."""

    path: Path
    what: str
    """How to call it in an error, such as `dlstack:codeDir`."""
    source: bool
    """Code, which Git may have written otherwise on another machine: names are sent in Unicode's
    form NFC, which is Git's own on macOS. Data is sent as it is."""
    wanted: Wanted = lambda _path, _folder: True

    def files(self) -> dict[str, str]:
        """Return path as it is sent -> path on this machine, in order of the former.

        Links are followed. What is neither left out by a rule nor can be sent is an error: nothing
        is left out in silence.

        Raises:
            pulumi.RunError: something in the folder can't be sent.
        """
        if not self.path.is_dir():
            raise pulumi.RunError(
                f"{self.what} '{self.path}' is not a folder. Set it to one that is there."
            )
        found: dict[str, str] = {}
        for path, local in self._below(str(self.path), "", Ignored(), frozenset()):
            if len(path.encode()) > MAX_PATH_BYTES:
                self._refuse(path, f"has a path of more than {MAX_PATH_BYTES:,} bytes", "Shorten")
            if path in found:
                self._refuse(path, "is there twice, in two spellings of Unicode", "Rename one of")
            found[path] = local
        return dict(sorted(found.items()))

    def _below(
        self, here: str, prefix: str, rules: Ignored, linked: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        """Yield both paths of the files in the folder `here`.

        Args:
            here: path on this machine.
            prefix: of the paths that are sent.
            rules: what is left out.
            linked: the real paths of the folders around that links led to.
        """
        entries = self._entries(here, prefix)
        names = {entry.name for entry in entries}
        environment = prefix and not ignored.ENVIRONMENT_MARKS.isdisjoint(names)
        # A rule may still take the environment along.
        if environment and rules.said_of(prefix.removesuffix("/"), True) is not False:
            return
        if self.source and prefix and not entries and git.is_submodule(Path(here)):
            raise self.refusal(
                prefix.removesuffix("/"),
                "is a submodule that is not checked out",
                "Run 'git submodule update --init', or name it in .dlstackignore.",
            )
        if ignored.IGNORE_FILE in names:
            rules = ignored.read(Path(here, ignored.IGNORE_FILE), prefix, rules)
        for entry in entries:
            path = prefix + (
                unicodedata.normalize("NFC", entry.name) if self.source else entry.name
            )
            try:
                folder = entry.is_dir()
                if rules(path, folder) or not self.wanted(path, folder):
                    continue
                if bad := _BAD_NAME.search(entry.name):
                    self._refuse(
                        path,
                        "has a backslash in its name"
                        if bad[0] == "\\"
                        else "has a name with control characters, or not in UTF-8",
                        "Rename",
                    )
                if folder:
                    inside = linked
                    if entry.is_symlink():
                        inside = linked | {self._target(entry, path, here, linked)}
                    yield from self._below(entry.path, f"{path}/", rules, inside)
                elif entry.is_file():
                    yield path, entry.path
                elif entry.is_symlink():
                    self._refuse(path, "is a link to nothing", "Correct or remove")
                else:
                    self._refuse(path, "is neither a file nor a folder", "Remove")
            except OSError as exc:
                self.unreadable(path, exc)

    def _entries(self, here: str, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(here) as entries:
                return list(entries)
        except OSError as exc:
            self.unreadable(prefix.removesuffix("/") or ".", exc)

    def _target(self, entry: os.DirEntry[str], path: str, here: str, linked: frozenset[str]) -> str:
        """Return where a link to a folder leads; refuse one to a folder around it."""
        target = os.path.realpath(entry.path)
        for around in {*linked, os.path.realpath(here)}:
            if os.path.commonpath([around, target]) == target:
                self._refuse(path, f"is a link to a folder around it, '{target}'", "Remove")
        return target

    def unreadable(self, path: str, error: OSError) -> NoReturn:
        """Raise the error of a file or folder that can't be read."""
        reason = f"can't be read: {error.strerror or error}"
        raise self.refusal(
            path, reason, "Make it readable, or name it in .dlstackignore."
        ) from error

    def refusal(self, path: str, reason: str, advice: str) -> pulumi.RunError:
        """Return the error of a file or folder that can't be sent."""
        return pulumi.RunError(f"{self.what} '{self.path}': {path!r} {reason}. {advice}")

    def _refuse(self, path: str, reason: str, advice: str) -> NoReturn:
        raise self.refusal(path, reason, f"{advice} it, or name it in .dlstackignore.")


def find(folder: Path, path: str) -> Path:
    """Return the file that is sent as `path`: its name may be spelled otherwise on this machine."""
    found = folder
    for name in path.split("/"):
        there = found / name
        if not os.path.lexists(there):
            same = [
                other
                for other in (os.listdir(found) if found.is_dir() else [])
                if unicodedata.normalize("NFC", other) == name
            ]
            there = found / (same[0] if same else name)
        found = there
    return found
