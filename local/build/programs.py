"""Programs that are built from Go modules, once, and kept in the cache."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..console import LocalError, step
from ..durable import is_whole, settle_checked
from ..home import Home
from ..machine.processes import run_logged
from .toolchain import Toolchain

MODULES = Path(__file__).resolve().parent / "go"


@dataclass(frozen=True)
class Program:
    """A Go program that one module here pins."""

    name: str
    module: str
    """Folder below `go/` whose go.mod and go.sum pin every source file that goes into it."""
    package: str = "."
    link: str = ""
    """Linker flags that set its version."""
    expected: str = "about a minute"
    """What a cold build takes on two cores."""


# Of one module, so that what they have in common is compiled once.
PLATFORM_MODULE = "platform"
KUBERNETES = Program(
    "kubernetes",
    PLATFORM_MODULE,
    "./kubernetes",
    link="-X k8s.io/component-base/version.gitVersion=v1.34.4"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
    expected="about 5 minutes",
)
COREDNS = Program("coredns", PLATFORM_MODULE, "./coredns")
# Of the standard library alone.
NODE_MODULE = "node"
PAUSE = Program("pause", NODE_MODULE, "./pause", expected="seconds")
REACH = Program("reach", NODE_MODULE, "./reach", expected="seconds")
NODE_PORTS = Program("node-ports", NODE_MODULE, "./node-ports", expected="seconds")


def digest(paths: Iterable[Path], *words: str) -> str:
    """The key of a cache entry: twelve hexadecimal digits over files, names included, and words."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for word in words:
        total.update(word.encode() + b"\0")
    return total.hexdigest()[:12]


class Programs:
    """Makes programs on demand and keeps them in the cache."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._toolchain = Toolchain(home)

    def path(self, program: Program) -> Path:
        """Where a program is once it is built."""
        sources = (path for path in (MODULES / program.module).rglob("*") if path.is_file())
        key = digest(sources, program.package, program.link, platform.machine())
        return self._home.cache / f"{program.name}-{key}" / program.name

    def build(self, program: Program) -> Path:
        """The path of a built program.

        Raises:
            LocalError: the build failed; the message ends with the log's last lines.
        """
        target = self.path(program)
        if is_whole(target):
            return target
        with step(f"build {program.name} from Go modules (once, {program.expected})"):
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_suffix(".new")
            run_logged(
                [
                    *(self._toolchain.go, "build", "-trimpath", "-buildvcs=false"),
                    *("-ldflags", f"-s -w {program.link}", "-o", unfinished, program.package),
                ],
                self._home.cache / "logs" / f"{program.name}.log",
                cwd=MODULES / program.module,
                # Static, since the same file also runs in an image that holds nothing else.
                environment={**self._toolchain.environment, "CGO_ENABLED": "0"},
            )
            settle_checked(unfinished, target)
        return target

    def command(self, name: str) -> list[str | Path]:
        """The words that start a program of Kubernetes, CoreDNS or etcd, before its flags.

        Args:
            name: such as "kube-apiserver", "etcd", "kubectl" or "coredns".

        Raises:
            LocalError: it had to be built, and that failed.
        """
        return [self.build(COREDNS)] if name == "coredns" else [self.build(KUBERNETES), name]

    def module_folder(self, program: Program, module: str) -> Path:
        """The source folder of a module that `program`'s go.mod names."""
        listed = subprocess.run(
            [self._toolchain.go, "mod", "download", "-json", module],
            cwd=MODULES / program.module,
            env={**os.environ, **self._toolchain.environment},
            capture_output=True,
            text=True,
        )
        if listed.returncode:
            raise LocalError(
                f"the Go module {module} can't be downloaded: {listed.stderr.strip()}",
                "Check that the Go module proxy is reachable.",
            )
        return Path(json.loads(listed.stdout)["Dir"])
