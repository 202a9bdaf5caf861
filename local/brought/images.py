"""The runtime image for such a cluster, built by the program that this machine has for images."""

import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..build.cache import digest
from ..build.images import FOLDER, runtime_name
from ..build.programs import FRONTEND
from ..console import LocalError, step
from ..home import REPOSITORY
from ..machine.processes import run_logged

_SECONDS = 20.0
"""How long a builder may take to say that it works."""


@dataclass(frozen=True)
class Builder:
    """A program that builds images."""

    program: str
    check: Sequence[str]
    """Words that fail where it can't build: `docker` without its daemon, for example."""
    build: Sequence[str]
    save: Callable[[str, Path], Sequence[str | Path]]
    """Words that write an image into an archive, in Docker's format."""


BUILDERS = (
    Builder(
        "docker",
        ("version", "--format", "{{.Server.Version}}"),
        ("build",),
        lambda image, archive: ("save", "--output", archive, image),
    ),
    Builder(
        "podman",
        ("info", "--format", "{{.Host.Arch}}"),
        ("build",),
        lambda image, archive: ("save", "--format", "docker-archive", "--output", archive, image),
    ),
    Builder(
        "buildah",
        ("info",),
        # Else it keeps no layers, and a second build starts anew.
        ("build", "--layers"),
        lambda image, archive: ("push", image, f"docker-archive:{archive}:{image}"),
    ),
)


def name() -> str:
    """The image's name: it has the hash of what the image is built from."""
    key = digest(FOLDER.iterdir(), platform.machine())
    return runtime_name(key, digest(FRONTEND.sources))


def builder() -> Builder:
    """The first program that works.

    Raises:
        LocalError: there is none.
    """
    said = []
    for one in BUILDERS:
        if shutil.which(one.program) is None:
            said.append(f"{one.program} is not on PATH")
        elif problem := _problem(one):
            said.append(f"{one.program}: {problem}")
        else:
            return one
    raise LocalError(
        f"nothing here builds images ({'; '.join(said)}).",
        "Start or install one of these, or set RUNTIME_IMAGE to the name of an image that the "
        "cluster can pull.",
    )


def build(one: Builder, image: str, archive: Path, log: Path) -> None:
    """Build the image and write it into an archive.

    Args:
        log: of the build.

    Raises:
        LocalError: it failed; the message ends with the log's last lines.
    """
    recipe = FOLDER / "Containerfile"
    # A record of the build, beside the image, makes a list of two of it: not all can load that.
    environment = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    with step(f"build {image} with {one.program} (once, some minutes)"):
        run_logged(
            [one.program, *one.build, "--file", recipe, "--tag", image, REPOSITORY],
            log,
            environment=environment,
        )
    with step(f"write {image} into a file"):
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.unlink(missing_ok=True)
        run_logged([one.program, *one.save(image, archive)], log)


def _problem(one: Builder) -> str:
    """Why a program can't build, in its own words; empty: it can."""
    try:
        done = subprocess.run(
            [one.program, *one.check],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"`{one.program} {one.check[0]}` takes longer than {_SECONDS:.0f} s"
    except OSError as error:
        return str(error.strerror)
    if done.returncode:
        return " ".join((done.stderr or done.stdout).split())[-200:]
    return ""
