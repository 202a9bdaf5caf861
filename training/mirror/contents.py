"""What is in a folder that others write to, and what of it can't be looked at."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path, PurePosixPath

from training.mirror.checkpoint_state import CheckpointState, Stamp, is_state, stamp_of

# Names that TensorFlow, and this package, give to files that are not complete yet.
_UNFINISHED = re.compile(r"\.part(/|$)|\.tmp|\.tempstate|_temp(/|$)")
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What is said of a file in whose place there is nothing any more, or a folder, and of one in a
folder in whose place there is a file."""


class Contents:
    """The files of a folder, by their paths in it.

    Args:
        exclude: names directly in `folder` that don't count.
        beside: name -> file outside `folder` that counts as if it lay in it.
        say: takes a line about what is passed over, once.
    """

    def __init__(
        self,
        folder: Path,
        exclude: Set[str],
        beside: Mapping[str, Path],
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._exclude = exclude
        self._beside = beside
        self._say = say
        self.closed: set[str] = set()
        """Files and folders that nobody was allowed to read since `begin_again`."""
        self._closed_told: set[str] = set()
        self._links: set[Path] = set()
        """Folders that are links, and that were looked at."""

    def file(self, path: str) -> Path:
        """Return where the file of a path is."""
        return self._beside.get(path, self._folder / path)

    def begin_again(self) -> None:
        """Forget what could not be read: it may be allowed by now."""
        self.closed.clear()

    def tell_of_closed(self) -> None:
        """Say what could not be read, unless it was said."""
        for path in sorted(self.closed - self._closed_told):
            self._say(f"Not allowed to read '{path}': it is kept as soon as that is possible.")
        self._closed_told = set(self.closed)

    def may_be_there(self, path: str) -> bool:
        """Whether nobody knows if a file is gone: it, or a folder that it is in, can't be read."""
        return any(PurePosixPath(path).is_relative_to(closed) for closed in self.closed)

    def states(self) -> tuple[dict[str, CheckpointState], dict[str, Stamp]]:
        """Return the checkpoint states by path, and the stamps of what is only called like one."""
        found: dict[str, CheckpointState] = {}
        others: dict[str, Stamp] = {}
        for file, path in self._files():
            if is_state(path):
                with self.passing_over(str(path)):
                    stamp, state = stamp_of(file), CheckpointState.read(file, path)
                    if state is None:
                        others[str(path)] = stamp
                    else:
                        found[str(path)] = state
        return found, others

    def stamps(self) -> dict[str, Stamp]:
        """Return the stamps of all files but of those whose names say that they are unfinished."""
        found = {}
        for file, path in self._files():
            if not _UNFINISHED.search(str(path)):
                # A file may go between listing and looking: checkpoints are rotated.
                with self.passing_over(str(path)):
                    if file.is_file():
                        found[str(path)] = stamp_of(file)
        for name, file in self._beside.items():
            with contextlib.suppress(*_GONE):
                found[name] = stamp_of(file)
        return found

    @contextlib.contextmanager
    def passing_over(self, path: str) -> Iterator[None]:
        """Pass over a file that is gone, and for now one that can't be read."""
        try:
            yield
        except _GONE:
            pass
        except PermissionError as error:
            # A socket has no name.
            if error.filename is None:
                raise
            self.closed.add(path)

    def _files(self) -> Iterator[tuple[Path, PurePosixPath]]:
        """Yield what is there but for folders, and its path. One that goes meanwhile, like that of
        an export that is renamed, is passed over; `Path.rglob` raises then."""

        def on_error(error: OSError) -> None:
            # What can't be listed must not look as if it were deleted.
            path = PurePosixPath(os.path.relpath(error.filename, self._folder))
            if not self._is_excluded(path):
                with self.passing_over(str(path)):
                    raise error

        for parent, folders, names in os.walk(self._folder, onerror=on_error):
            self._tell_of_links(Path(parent, name) for name in folders)
            for file in (Path(parent, name) for name in names):
                path = PurePosixPath(file.relative_to(self._folder).as_posix())
                if not self._is_excluded(path):
                    yield file, path

    def _is_excluded(self, path: PurePosixPath) -> bool:
        return bool(path.parts) and path.parts[0] in self._exclude

    def _tell_of_links(self, folders: Iterable[Path]) -> None:
        """Say of each folder that is a link to another place that what is there is not kept.

        It may be the data set, or a part of the system.
        """
        for folder in folders:
            if folder in self._links or not folder.is_symlink():
                continue
            self._links.add(folder)
            path, target = folder.relative_to(self._folder), folder.resolve()
            if not self._is_excluded(PurePosixPath(path)) and not target.is_relative_to(
                self._folder.resolve()
            ):
                self._say(f"'{path}' is a link to '{target}': what is there is not kept.")
