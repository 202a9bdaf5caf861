"""Programs of the platform: downloaded as official releases, or built once from Go modules."""

import contextlib
import functools
import json
import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..console import LocalError, step
from ..durable import is_whole, settle_checked
from ..home import Home
from ..machine.processes import run_logged
from . import trimmed
from .cache import digest
from .releases import Releases
from .toolchain import Toolchain

MODULES = Path(__file__).resolve().parent / "go"
_SERVING = Path(__file__).resolve().parents[2] / "serving"


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
    releases: tuple[str, ...] = ()
    """The official releases that together take its place."""
    trimmed: bool = False
    """Whether it is built from the trimmed copies of Pulumi's modules."""
    beside: Path | None = None
    """The folder that holds the module's, where that is not `go/`."""

    @property
    def folder(self) -> Path:
        """Its module's."""
        return (self.beside or MODULES) / self.module

    @property
    def sources(self) -> list[Path]:
        """The files that it is known by."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [path for path in files if not path.name.endswith("_test.go")]


# Of one module, so that what they have in common is compiled once.
PLATFORM_MODULE = "platform"
KUBERNETES = Program(
    "kubernetes",
    PLATFORM_MODULE,
    "./kubernetes",
    link="-X k8s.io/component-base/version.gitVersion=v1.34.4"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
    expected="about 4 minutes",
    releases=("kubernetes", "etcd"),
)
COREDNS = Program("coredns", PLATFORM_MODULE, "./coredns", releases=("coredns",))
# Of the standard library alone.
NODE_MODULE = "node"
PAUSE = Program("pause", NODE_MODULE, "./pause", expected="seconds")
REACH = Program("reach", NODE_MODULE, "./reach", expected="seconds")
NODE_PORTS = Program("node-ports", NODE_MODULE, "./node-ports", expected="seconds")
# Only clusters that ask for these have them.
ADDONS_MODULE = "addons"
NETWORK_POLICIES = Program(
    "network-policies", ADDONS_MODULE, "./network-policies", expected="about 3 minutes"
)
METRICS_SERVER = Program(
    "metrics-server", ADDONS_MODULE, "./metrics-server", expected="about 3 minutes"
)
FRONTEND = Program("dlstack-frontend", "frontend", beside=_SERVING)
"""Of the model server; in the runtime image, and for `python -m serving` on this machine."""


class Programs:
    """Has programs in the cache, on demand: several threads may ask for the same one."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.releases = Releases(home)
        self._toolchain = Toolchain(home)
        self._building = threading.Lock()

    def path(self, program: Program) -> Path:
        """Where a program is once `make` has it; that of KUBERNETES is `command`'s affair."""
        if self._is_released(program) and (released := self.releases.program(program.name)):
            return released
        return self._built(program)

    def is_there(self, program: Program) -> bool:
        """Whether it needs neither a download nor a build any more."""
        return self._is_released(program) or is_whole(self._built(program))

    def identity(self, program: Program) -> str:
        """What changes when another version of a program is pinned, released or built."""
        pinned = (self.releases.pinned.get(name) for name in program.releases)
        return " ".join([self._built(program).parent.name, *(str(one) for one in pinned if one)])

    def command(self, name: str) -> list[str | Path]:
        """The words that start a program of Kubernetes, CoreDNS or etcd, before its flags.

        They are the same before and after `make` has built it.

        Args:
            name: such as "kube-apiserver", "etcd", "kubectl" or "coredns".
        """
        if name == COREDNS.name:
            return [self.path(COREDNS)]
        if self._is_released(KUBERNETES) and (released := self.releases.program(name)):
            return [released]
        return [self._built(KUBERNETES), name]

    def make(self, *programs: Program) -> None:
        """Have programs in the cache: their releases, or else built.

        Raises:
            LocalError: a build failed, with the log's last lines; or a release has a wrong
                checksum.
        """
        missing = [program for program in programs if not self.is_there(program)]
        if not missing:
            return
        coming = self._begin(missing)
        # What has to be built anyway uses the time that the downloads take.
        self._build([program for program in missing if program not in coming])
        for program in coming:
            for name in program.releases:
                self.releases.wait(name)
        self._build([program for program in missing if not self.is_there(program)])

    def build(self, program: Program) -> Path:
        """The path of one program, made if need be."""
        self.make(program)
        return self.path(program)

    def download_modules(self, *programs: Program) -> None:
        """Download the sources of those programs that have to be built, while others compile."""
        coming = self._begin(programs)
        for folder in dict.fromkeys(p.folder for p in programs if p not in coming):
            if (folder / "go.sum").exists():
                self._go(folder, "mod", "download", log=f"{folder.name}-modules")

    def module_folder(self, program: Program, module: str) -> Path:
        """The source folder of a module that `program`'s go.mod names."""
        listed = subprocess.run(
            [self._toolchain.go, "mod", "download", "-json", module],
            cwd=program.folder,
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

    def _begin(self, programs: Sequence[Program]) -> list[Program]:
        """Begin to download releases; those programs whose releases are all on their way."""
        pinned = [
            p for p in programs if p.releases and self.releases.pinned.keys() >= {*p.releases}
        ]
        here = self.releases.begin(name for program in pinned for name in program.releases)
        coming = [program for program in pinned if here.issuperset(program.releases)]
        used = {name for program in coming for name in program.releases}
        self.releases.give_up(here - used)
        return coming

    def _is_released(self, program: Program) -> bool:
        return bool(program.releases) and all(map(self.releases.folder, program.releases))

    def _built(self, program: Program) -> Path:
        cuts = (repr(trimmed.CUTS),) if program.trimmed else ()
        key = digest(program.sources, program.package, program.link, platform.machine(), *cuts)
        return self._home.cache / f"{program.name}-{key}" / program.name

    def _build(self, programs: Sequence[Program]) -> None:
        """Build programs; those of one module together, for they compile the same packages."""
        for group in dict.fromkeys((program.module, program.trimmed) for program in programs):
            with self._building:
                missing = [
                    program
                    for program in programs
                    if (program.module, program.trimmed) == group
                    and not is_whole(self._built(program))
                ]
                if missing:
                    self._build_together(missing)

    def _build_together(self, programs: Sequence[Program]) -> None:
        names = " and ".join(program.name for program in programs)
        with (
            step(f"build {names} from Go modules (once, {programs[-1].expected})"),
            self._work_folder() as folder,
        ):
            flags = []
            if programs[0].trimmed:
                flags = [f"-modfile={self._trimmed(programs[0], folder / 'modules')}"]
            self._go(
                programs[0].folder,
                *("build", "-trimpath", "-buildvcs=false", *flags),
                # What a debugger would read takes a tenth of the time, and is thrown away here.
                "-gcflags=all=-dwarf=false",
                *("-ldflags", " ".join(["-s -w", *(program.link for program in programs)])),
                *("-o", f"{folder / 'bin'}/", *(program.package for program in programs)),
                log=programs[0].name,
            )
            for program in programs:
                target = self._built(program)
                target.parent.mkdir(parents=True, exist_ok=True)
                settle_checked(folder / "bin" / program.name, target)

    @contextlib.contextmanager
    def _work_folder(self) -> Iterator[Path]:
        """A folder for this build alone: commands may run side by side."""
        for left in self._home.cache.glob("build-[0-9]*"):
            if not Path("/proc", left.name.partition("-")[2]).exists():
                shutil.rmtree(left, ignore_errors=True)
        folder = self._home.cache / f"build-{os.getpid()}"
        (folder / "bin").mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _trimmed(self, program: Program, folder: Path) -> Path:
        modules = dict.fromkeys(cut.module for cut in trimmed.CUTS)
        sources = {module: self.module_folder(program, module) for module in modules}
        return trimmed.module_file(folder, program.folder, sources)

    def _go(self, folder: Path, *words: str, log: str) -> None:
        run_logged(
            [self._toolchain.go, *words],
            self._home.cache / "logs" / f"{log}.log",
            cwd=folder,
            environment={
                **self._toolchain.environment,
                # Static, since the same file also runs in an image that holds nothing else.
                "CGO_ENABLED": "0",
                # The compiler's processes are short: they collect no garbage before they are large.
                "GOGC": "off",
                "GOMEMLIMIT": "1500MiB",
            },
        )


@functools.cache
def programs_of(home: Home) -> Programs:
    """The programs of a home: the same object for all who ask, so that nothing is made twice."""
    return Programs(home)
