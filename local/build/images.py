"""The two images of the embedded cluster: the platform's own, and dlstack's runtime."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from .. import disk
from ..console import LocalError, step
from ..durable import is_whole, settle_checked
from ..home import REPOSITORY, Home
from ..machine.processes import end_logged, run_logged
from .cache import alone, digest
from .programs import COREDNS, FRONTEND, PAUSE, REACH, programs_of

FOLDER = Path(__file__).resolve().parent / "image"
DEBIAN_SUITE = "bookworm"
# What that suite has: the version of Python, and the minor version of the C library (2.36).
DEBIAN_PYTHON = "3.11"
DEBIAN_GLIBC = 36
DEBIAN_PACKAGES = "python3,python3-pip,ca-certificates"
PIP_OPTIONS = "--no-index --find-links=/tmp/build/wheels"
_PLATFORM_RECIPE = 'FROM scratch\nCOPY coredns pause reach /\nENTRYPOINT ["/pause"]\n'
_PLATFORM_PROGRAMS = (COREDNS, PAUSE, REACH)

_BUILDING = "image-build"
"""In folders of the cache that only one process can use at a time."""

Ctr = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs containerd's client with these words."""


def runtime_name(key: str, frontend: str) -> str:
    """Return the name of dlstack's image (docs/contracts.md: the run hash leaves out the end).

    Args:
        key: changes with what training uses of it: base and Python packages.
        frontend: changes with the server's front end.
    """
    return f"localhost/dlstack/runtime:{key}.frontend-{digest((), frontend)}"


class Images:
    """Builds images and imports them; each is known by the hash of what it is built from."""

    def __init__(self, home: Home) -> None:
        self._home = home
        built_from = (DEBIAN_SUITE, DEBIAN_PACKAGES, PIP_OPTIONS, platform.machine())
        key = digest(FOLDER.iterdir(), *built_from)
        self.runtime = runtime_name(key, programs_of(home).identity(FRONTEND))
        """Name of the image with dlstack's dependencies and the server's front end."""
        self._wheels = home.cache / f"wheels-{key}"
        self._downloading = threading.Lock()

    @cached_property
    def platform(self) -> str:
        """Name of the image with CoreDNS, the program of pods' sandboxes, and `reach`.

        It is known before its programs are here.
        """
        identities = map(programs_of(self._home).identity, _PLATFORM_PROGRAMS)
        return f"localhost/dlstack/platform:{digest((), _PLATFORM_RECIPE, *identities)}"

    @contextlib.contextmanager
    def loading(self, ctr: Ctr) -> Iterator[None]:
        """Have the platform's image in containerd inside, and at the end dlstack's as well.

        Raises:
            LocalError: a build or an import failed.
        """
        present = set(ctr("images", "list", "--quiet").stdout.split())
        if {self.platform, self.runtime} <= present:
            yield
            return
        with alone(self._home.cache, _BUILDING):
            yield from self._loading(ctr, present)

    def _loading(self, ctr: Ctr, present: set[str]) -> Iterator[None]:
        failures: list[LocalError] = []

        def load_runtime() -> None:
            try:
                self._load(ctr, self.runtime, self._build_runtime)
            except LocalError as error:
                failures.append(error)

        runtime = threading.Thread(target=load_runtime, daemon=True)
        if self.runtime not in present:
            runtime.start()
        try:
            if self.platform not in present:
                self._load(ctr, self.platform, self._build_platform)
            yield
        except BaseException:
            end_logged()
            raise
        finally:
            # Also after a failure: buildah undoes its mounts.
            if runtime.ident is not None:
                runtime.join()
        if failures:
            raise failures[0]

    def download_wheels(self) -> Path:
        """The folder of the Python packages of the image, downloaded if need be.

        On the host: the chroot of the build has neither this machine's certificates nor its pip
        settings.

        Raises:
            LocalError: pip failed.
        """
        with self._downloading:
            if not self._wheels.exists():
                with step("download the Python packages of the image"):
                    unfinished = self._wheels.with_suffix(".new")
                    shutil.rmtree(unfinished, ignore_errors=True)
                    log = self._home.cache / "logs" / "wheels.log"
                    for words in pip_downloads(platform.machine(), unfinished):
                        run_logged([sys.executable, "-m", "pip", "download", *words], log)
                    unfinished.rename(self._wheels)
        return self._wheels

    def is_runtime_built(self) -> bool:
        """Whether its archive is here, ready to be imported."""
        return self._archive(self.runtime).exists()

    def _archive(self, name: str) -> Path:
        return self._home.cache / f"image-{name.replace('/', '_').replace(':', '-')}.tar"

    def make(self) -> None:
        """Have the archives of both, ready to be imported.

        Raises:
            LocalError: a build failed.
        """
        with alone(self._home.cache, _BUILDING):
            self._make(self.platform, self._build_platform)
            self._make(self.runtime, self._build_runtime)

    def _make(self, name: str, build: "Callable[[str, _Buildah], None]") -> Path:
        archive = self._archive(name)
        if not is_whole(archive, thoroughly=True):
            self._build(name, build, archive)
        return archive

    def _load(self, ctr: Ctr, name: str, build: "Callable[[str, _Buildah], None]") -> None:
        _import(ctr, name, self._make(name, build), self._home.root)

    def _build(self, name: str, build: "Callable[[str, _Buildah], None]", archive: Path) -> None:
        kind = name.rpartition("/")[2].partition(":")[0]
        work = self._home.cache / f"image-build-{kind}"
        shutil.rmtree(work, ignore_errors=True)
        (work / "context").mkdir(parents=True)
        buildah = _Buildah(work, self._home.cache / "logs" / f"image-{kind}.log")
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
        programs = programs_of(self._home)
        programs.make(*_PLATFORM_PROGRAMS)
        for program in _PLATFORM_PROGRAMS:
            _place(programs.path(program), buildah.context / program.name)
        (buildah.context / "Containerfile").write_text(_PLATFORM_RECIPE)
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
            base_recipe = buildah.work / "Containerfile.base"
            base_recipe.write_text(
                "FROM scratch\nADD base.tar /\n"
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
            )
            buildah("build", "--file", base_recipe, "--tag", base, buildah.work)
            tree.unlink()
        recipe = buildah.context / FOLDER.relative_to(REPOSITORY)
        shutil.copytree(FOLDER, recipe)
        wheels = self.download_wheels()
        (recipe / "wheels").mkdir()
        for wheel in wheels.iterdir():
            _place(wheel, recipe / "wheels" / wheel.name)
        frontend = programs_of(self._home).build(FRONTEND)
        place = buildah.context / FRONTEND.folder.relative_to(REPOSITORY)
        place.mkdir(parents=True)
        _place(frontend, place / FRONTEND.name)
        with step(f"build {name}"):
            buildah(
                *("build", "--pull-never", "--file", recipe / "Containerfile"),
                # The front end is built already: any image can hold it.
                *("--build-arg", f"BASE={base}", "--build-arg", f"GO={base}"),
                *("--build-arg", f"PIP_OPTIONS={PIP_OPTIONS}", "--tag", name, buildah.context),
            )
        shutil.rmtree(wheels)


def pip_downloads(machine: str, folder: Path) -> list[list[str]]:
    """What `pip download` is told, once after the other, to have all packages of the image.

    They are for the image's Python and C library, whatever this machine has.

    Args:
        machine: `x86_64` or `aarch64`.
        folder: that gets them.
    """
    recipe = (FOLDER / "Containerfile").read_text()
    serving = next(word for word in recipe.split() if word.startswith("tensorflow-serving-api="))
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(DEBIAN_GLIBC, 4, -1)]
    platforms += [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    options = ["--quiet", "--only-binary=:all:", "--python-version", DEBIAN_PYTHON]
    options += ["--implementation", "cp", "--dest", str(folder)]
    options += [word for name in platforms for word in ("--platform", name)]
    requirements = ["-r", str(FOLDER / "requirements.txt")]
    return [
        [*options, *requirements, "-r", str(FOLDER / "tensorflow.txt")],
        [*options, "--no-deps", serving],
    ]


def _place(file: Path, target: Path) -> None:
    """Have a file in another folder, without copying it where the two are on one disk."""
    try:
        os.link(file.resolve(), target)
    except OSError:
        shutil.copy2(file, target)


def _import(ctr: Ctr, name: str, archive: Path, home: Path) -> None:
    """Hand an archive to containerd, whose files are below `home`."""
    with step(f"import {name}"):
        done = ctr("images", "import", str(archive))
    if done.returncode:
        if full := disk.full(done.stderr, home):
            raise full
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
