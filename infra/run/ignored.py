"""What of a folder is never sent to the cluster: what tools leave, and what `.dlstackignore` names.

The file has the syntax of `.gitignore`, lies in the folder or in any folder below, and says the
last word: `!name` takes back what would be left out by default.
"""

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path

import pulumi

from .gitignore import Rules

IGNORE_FILE = ".dlstackignore"

ENVIRONMENT_MARKS = frozenset({"pyvenv.cfg", "conda-meta"})
"""A folder with one of these is a virtual environment of Python, whatever its name is."""

DEFAULT_FOLDERS = (
    # Version control.
    *(".git", ".hg", ".svn", ".jj"),
    # Caches and what is installed.
    *("__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".cache"),
    *(".tox", ".nox", ".eggs", "*.egg-info", ".venv", "venv", "node_modules"),
    # Editors and file managers.
    *(".idea", ".vscode", ".vs", ".fleet", ".zed", ".settings"),
    *(".AppleDouble", ".Spotlight-V100", ".Trashes", ".fseventsd", ".Trash-*", "$RECYCLE.BIN"),
    "System Volume Information",
)

DEFAULT_FILES = (
    IGNORE_FILE,
    # Of Git: a submodule's or a work tree's `.git` is a file.
    *(".git", ".gitignore", ".gitattributes", ".gitmodules", ".mailmap"),
    *("*.pyc", "*.pyo", ".coverage"),
    # Passwords and tokens of this machine.
    *(".env", ".env.*", ".envrc", ".netrc", ".pypirc"),
    *(".DS_Store", "._*", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", ".directory"),
    *("*~", ".#*", "#*#", ".*.sw[a-p]", ".nfs*", ".fuse_hidden*"),
)


def _any(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)))


# One regular expression for each: a data set may have 100,000 files.
_FOLDER, _FILE = _any(DEFAULT_FOLDERS), _any(DEFAULT_FILES)


class Ignored:
    """What is left out of one folder, and of those below it until one has a file of its own."""

    def __init__(self, above: "Ignored | None" = None, prefix: str = "", text: str = "") -> None:
        """Take the rules `above` and, for paths that begin with `prefix`, those of a file.

        Raises:
            ValueError: a line of `text` can never match anything.
        """
        self._above = above
        self._prefix = prefix
        self._rules = Rules(text) if text else None

    def __call__(self, path: str, folder: bool) -> bool:
        """Say whether a path, relative to the folder that is sent, is left out."""
        found = self.said_of(path, folder)
        if found is None:
            name = path.rpartition("/")[2]
            return bool((_FOLDER if folder else _FILE).match(name))
        return found

    def said_of(self, path: str, folder: bool) -> bool | None:
        """Return what the files say: left out, taken along, or nothing (None)."""
        if self._rules is not None:
            found = self._rules.left_out(path[len(self._prefix) :], folder)
            if found is not None:
                return found
        return self._above.said_of(path, folder) if self._above else None


def read(file: Path, prefix: str, above: Ignored) -> Ignored:
    """Return the rules of an ignore file for what lies below `prefix`.

    Raises:
        pulumi.RunError: it can't be read, or has a line that can never match anything.
    """
    try:
        # Windows' editors may put a mark at the beginning; Git takes no notice of it either.
        return Ignored(above, prefix, file.read_text("utf-8-sig"))
    except OSError as exc:
        raise pulumi.RunError(
            f"'{file}' can't be read: {exc.strerror}. Make it readable, or remove it."
        ) from exc
    except UnicodeDecodeError as exc:
        raise pulumi.RunError(f"'{file}' is not UTF-8. Save it as UTF-8.") from exc
    except ValueError as exc:
        raise pulumi.RunError(
            f"'{file}': {exc}. Correct or remove it: patterns are those of .gitignore."
        ) from exc
