"""`make release`: what a release consists of, made in `dist/` from the commit that is checked out.

The same commit makes the same files, byte for byte: their times are SOURCE_DATE_EPOCH, or that of
the commit. The standard library is enough, but for `pip`, which builds the wheel.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGE = "local/build/image"
FRONTEND = "serving/frontend"
"""Sources in Go, which the image's recipe builds. No program that is built belongs to a release."""
_SHOWN = 3
"""So many changed files are named."""

_LABELS = """\
LABEL org.opencontainers.image.title="dlstack-runtime" org.opencontainers.image.version="{version}"
"""

_USE = """
## What is here

| file | use |
|---|---|
| `dlstack-{version}.tar.gz` | everything: unpack it; `make up`, or `pulumi up` on your cluster |
| `{wheel}` | the client alone: `pip install` it, then `dlstack predict` |
| `dlstack-runtime-{version}.tar.gz` | the image's recipe: unpack it, and build (below) |
| `SHA256SUMS` | `sha256sum --check SHA256SUMS` |

The image: `docker build -f {image}/Containerfile -t NAME .` in the recipe's folder. That builds
the model server's front end from its sources in Go: no file here is a program that was built.

How to update a stack, and what is trained anew: `docs/upgrading.md`.
"""


class Refused(Exception):
    """There is nothing to release; the text says why, and what to do."""


def main() -> int:
    """Make the release, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder to make (dist)")
    dist = parser.parse_args().dist.resolve()
    try:
        release(dist)
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 1
    for file in sorted(dist.iterdir()):
        print(f"{file.stat().st_size:>10,}  {file}")
    return 0


def release(dist: Path) -> None:
    """Make all files of a release in the folder `dist`, which is emptied first.

    Raises:
        Refused: see there.
    """
    version = (ROOT / "VERSION").read_text().strip()
    notes = _notes(version)
    _require_clean()
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct").decode())
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="dlstack-release-") as folder:
        tree, recipe = Path(folder) / "all", Path(folder) / "recipe"
        # Of the commit: neither what Git ignores nor what tools have left gets into a file.
        with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", "HEAD"))) as archive:
            archive.extractall(tree, filter="tar")
        # Before pip builds in it.
        _pack(tree, f"dlstack-{version}", dist, epoch)
        for part in (IMAGE, FRONTEND):
            shutil.copytree(tree / part, recipe / part)
        shutil.copy2(tree / ".dockerignore", recipe)
        with (recipe / IMAGE / "Containerfile").open("a") as containerfile:
            # Not in the repository: there an image is known by its recipe, and another recipe
            # would train every stack's model anew.
            containerfile.write(_LABELS.format(version=version))
        _pack(recipe, f"dlstack-runtime-{version}", dist, epoch)
        wheel = _wheel(tree / "client", dist, epoch)
    (dist / "NOTES.md").write_text(notes + _USE.format(version=version, wheel=wheel, image=IMAGE))
    sums = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted(dist.iterdir())
    ]
    (dist / "SHA256SUMS").write_text("".join(sums))


def _notes(version: str) -> str:
    """Return the section of the changelog about a version."""
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(
        rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text, re.M | re.S
    )
    if not found or not found[1].strip():
        raise Refused(
            f"CHANGELOG.md has no section '## {version} - YYYY-MM-DD', or nothing in it. "
            "CONTRIBUTING.md, 'A release', says how VERSION and CHANGELOG.md are set."
        )
    return f"# dlstack {version}\n\n{found[1].strip()}\n"


def _require_clean() -> None:
    changed = _git("status", "--porcelain").decode().splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:_SHOWN])
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise Refused(
            f"the working tree differs from the commit: {names}{more}. Commit or remove that."
        )


def _pack(folder: Path, name: str, dist: Path, epoch: int) -> None:
    """Write `NAME.tar.gz`, which unpacks to a folder of that name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            entry = archive.gettarinfo(path, f"{name}/{path.relative_to(folder).as_posix()}")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = epoch
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            if entry.isreg():
                with path.open("rb") as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)
    (dist / f"{name}.tar.gz").write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))


def _wheel(project: Path, dist: Path, epoch: int) -> str:
    """Build the client's wheel; return its name."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
            *("--no-deps", "--wheel-dir", str(dist), str(project)),
        ],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Refused(f"the client's wheel can't be built: {done.stderr.strip()}")
    (wheel,) = dist.glob("*.whl")
    return wheel.name


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True)
    if done.returncode:
        said = done.stderr.decode().strip()
        raise Refused(f"`git {words[0]}` failed: {said}. A release is made in a clone.")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
