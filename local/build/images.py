"""The two images of the embedded cluster: the platform's own, and dlstack's runtime."""

import contextlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from ..console import LocalError, step
from ..durable import is_whole, settle_checked
from ..home import Home
from ..machine.processes import run_logged
from .programs import COREDNS, PAUSE, REACH, Programs, digest

FOLDER = Path(__file__).resolve().parent / "image"
DEBIAN_SUITE = "bookworm"
# What that suite has: the version of Python, and the minor version of the C library (2.36).
DEBIAN_PYTHON = "3.11"
DEBIAN_GLIBC = 36
DEBIAN_PACKAGES = "python3,python3-pip,ca-certificates"
PIP_OPTIONS = "--no-index --find-links=/tmp/build/wheels"

Ctr = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs containerd's client with these words."""


class Images:
    """Builds images and imports them; each is known by the hash of what it is built from."""

    def __init__(self, home: Home) -> None:
        self._home = home
        key = digest(
            FOLDER.iterdir(), DEBIAN_SUITE, DEBIAN_PACKAGES, PIP_OPTIONS, platform.machine()
        )
        self.runtime = f"localhost/dlstack/runtime:{key}"
        """Name of the image with dlstack's dependencies."""

    @cached_property
    def platform(self) -> str:
        """Name of the image with CoreDNS, the program of pods' sandboxes, and `reach`."""
        return f"localhost/dlstack/platform:{digest(self._platform_programs)}"

    @cached_property
    def _platform_programs(self) -> tuple[Path, ...]:
        programs = Programs(self._home)
        return programs.build(COREDNS), programs.build(PAUSE), programs.build(REACH)

    def load(self, ctr: Ctr) -> None:
        """Have both images in containerd, which must be running.

        Raises:
            LocalError: a build or an import failed.
        """
        present = set(ctr("images", "list", "--quiet").stdout.split())
        for name, build in (
            (self.platform, self._build_platform),
            (self.runtime, self._build_runtime),
        ):
            if name in present:
                continue
            archive = self._home.cache / f"image-{name.replace('/', '_').replace(':', '-')}.tar"
            if not is_whole(archive, thoroughly=True):
                self._build(name, build, archive)
            _import(ctr, name, archive)

    def _build(self, name: str, build: "Callable[[str, _Buildah], None]", archive: Path) -> None:
        work = self._home.cache / "image-build"
        shutil.rmtree(work, ignore_errors=True)
        (work / "context").mkdir(parents=True)
        buildah = _Buildah(work, self._home.cache / "logs" / "images.log")
        try:
            build(name, buildah)
            unfinished = archive.with_suffix(".new")
            unfinished.unlink(missing_ok=True)
            # An archive of uncompressed layers: it is only read on this machine, and compression
            # would take a minute.
            with step(f"write {name}"):
                buildah("push", name, f"docker-archive:{unfinished}:{name}")
            settle_checked(unfinished, archive)
        finally:
            # Layers are mounts, which only buildah undoes.
            with contextlib.suppress(LocalError):
                buildah("rmi", "--all", "--force")
            shutil.rmtree(work, ignore_errors=True)

    def _build_platform(self, name: str, buildah: "_Buildah") -> None:
        for program in self._platform_programs:
            shutil.copy2(program, buildah.context)
        (buildah.context / "Containerfile").write_text(
            'FROM scratch\nCOPY coredns pause reach /\nENTRYPOINT ["/pause"]\n'
        )
        with step(f"build {name}"):
            buildah("build", "--tag", name, buildah.context)

    def _build_runtime(self, name: str, buildah: "_Buildah") -> None:
        base = "localhost/dlstack/base"
        with step("make a Debian base with Python"):
            tree = buildah.work / "base.tar"
            run_logged(
                [
                    *("mmdebstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}"),
                    *(DEBIAN_SUITE, tree),
                ],
                buildah.log,
            )
            recipe = buildah.work / "Containerfile.base"
            recipe.write_text(
                "FROM scratch\nADD base.tar /\n"
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
            )
            buildah("build", "--file", recipe, "--tag", base, buildah.work)
            tree.unlink()
        with step("download the Python packages of the image"):
            self._download_wheels(buildah)
        with step(f"build {name}"):
            buildah(
                *("build", "--pull-never", "--build-arg", f"BASE={base}"),
                *("--build-arg", f"PIP_OPTIONS={PIP_OPTIONS}", "--tag", name, buildah.context),
            )

    @staticmethod
    def _download_wheels(buildah: "_Buildah") -> None:
        """Fetch on the host what the build installs offline.

        The chroot of the build has neither this machine's certificates nor its pip settings.
        """
        for file in FOLDER.iterdir():
            shutil.copy2(file, buildah.context)
        recipe = (FOLDER / "Containerfile").read_text()
        tensorflow = recipe.partition("ARG TENSORFLOW=")[2].split()[0]
        serving = next(
            word for word in recipe.split() if word.startswith("tensorflow-serving-api=")
        )
        pip = [*(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:")]
        # For the image's Python and C library, whatever this machine has.
        pip += ["--python-version", DEBIAN_PYTHON, "--implementation", "cp"]
        machine = platform.machine()
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(DEBIAN_GLIBC, 4, -1)]
        platforms += [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
        pip += [word for name in platforms for word in ("--platform", name)]
        pip += ["--dest", str(buildah.context / "wheels")]
        run_logged([*pip, "-r", str(FOLDER / "requirements.txt"), tensorflow], buildah.log)
        run_logged([*pip, "--no-deps", serving], buildah.log)


def _import(ctr: Ctr, name: str, archive: Path) -> None:
    with step(f"import {name}"):
        done = ctr("images", "import", str(archive))
    if done.returncode:
        raise LocalError(
            f"the image {name} can't be imported: {done.stderr.strip()}",
            f"Remove {archive} and try again.",
        )


class _Buildah:
    """buildah with its storage in a folder of ours."""

    def __init__(self, work: Path, log: Path) -> None:
        self.work = work
        self.context = work / "context"
        self.log = log

    def __call__(self, command: str, *words: str | Path) -> None:
        storage = ("--root", self.work / "storage", "--runroot", self.work / "run")
        # In a chroot: the build then needs neither a network of its own nor more rights than root
        # has here.
        isolation = ("--isolation", "chroot", "--layers=false") if command == "build" else ()
        run_logged(["buildah", *storage, command, *isolation, *words], self.log)
