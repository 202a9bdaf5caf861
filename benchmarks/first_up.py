"""The first `make up` of a machine, with nothing cached: each step and its seconds.

    python benchmarks/first_up.py [--ways registries mirror] [--only-up] [--folder FOLDER]

Each way gets an empty DLSTACK_HOME, runs `python -m local up` and `deploy`, and is taken down:

registries  only the package registries of Debian, PyPI and Go: everything is built
mirror      official releases as well, from a server on this machine: archives in the official
            layouts, packed beforehand from the programs that ~/.dlstack has built
official    official releases, where this machine reaches them

What the registries send comes over the network each time: caches of pip and Go are those of the
empty folder. Debian's packages are installed only where they are missing. Another cluster may run:
this one takes the addresses of --network.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local.build import pulumi  # noqa: E402
from local.build.programs import COREDNS, KUBERNETES, programs_of  # noqa: E402
from local.build.releases import OFFICIAL, VARIABLE  # noqa: E402
from local.home import Home  # noqa: E402

PLUGIN = pulumi.PULUMI_KUBERNETES.name
#: A finished step as `local.console` says it: seconds since the command began, title, its seconds.
FINISHED = re.compile(r"^ *([\d.]+) s  ([✓✗])  (.*) \(([\d.]+) s\)$")


def programs_of_releases() -> dict[str, dict[str, Path]]:
    """Release -> program -> file that stands in for it, of the cache of DLSTACK_HOME."""
    home = Home.from_environment()
    os.environ[VARIABLE] = "none"
    programs = programs_of(home)
    programs.make(COREDNS, KUBERNETES, pulumi.PULUMI, pulumi.PULUMI_PYTHON)
    programs.make(pulumi.PULUMI_KUBERNETES)
    # It links the language host and its scripts beside the CLI.
    with tempfile.TemporaryDirectory() as folder:
        pulumi.pulumi_path(home, folder)
    del os.environ[VARIABLE]
    pins = json.loads(OFFICIAL.read_text())
    # One binary that goes by the name it is called by.
    files = {name: programs.path(KUBERNETES) for name in pins["kubernetes"]["members"]}
    files |= {"etcd": programs.path(KUBERNETES), "coredns": programs.path(COREDNS)}
    beside = programs.path(pulumi.PULUMI).parent
    files |= {name: beside / name for name in pins["pulumi"]["members"]}
    found = {name: {one: files[one] for one in pin["members"]} for name, pin in pins.items()}
    return {**found, PLUGIN: {PLUGIN: programs.path(pulumi.PULUMI_KUBERNETES)}}


def pack_mirror(folder: Path) -> None:
    """Write archives in the official layouts, and `releases.json` with their checksums."""
    pins = json.loads(OFFICIAL.read_text())
    pins[PLUGIN] = {"version": f"v{pulumi.DECLARED_PLUGIN[1]}", "members": {PLUGIN: PLUGIN}}
    for name, programs in programs_of_releases().items():
        file = folder / f"{name}.tar.gz"
        with tarfile.open(file, "w:gz", compresslevel=1) as archive:
            for program, path in programs.items():
                member = pins[name]["members"][program].replace("*", "here")
                archive.add(path.resolve(), member)
        with file.open("rb") as content:
            checksum = hashlib.file_digest(content, "sha256").hexdigest()
        pins[name]["archives"] = {platform.machine(): {"url": file.name, "sha256": checksum}}
    (folder / "releases.json").write_text(json.dumps(pins))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; its address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def run(command: str, environment: dict[str, str], seconds: dict[str, float]) -> None:
    """Run a command of `local` with its progress on this terminal; note the steps down."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "local", command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if found := FINISHED.match(line):
            title = re.sub(r":[0-9a-f]{12}\b", "", found[3])
            seconds[title] = seconds.get(title, 0) + float(found[4])
    if process.wait():
        sys.exit(f"`python -m local {command}` ended with status {process.returncode}")
    seconds[f"in all: {command}"] = time.monotonic() - begun


def first_up(home: Path, releases: str, network: str, *, only_up: bool) -> dict[str, float]:
    """Step -> seconds of a first `make up` in an empty folder, which is gone afterwards."""
    names = ("KUBECONFIG", "PULUMI_HOME", "PULUMI_STACK", "PULUMI_BACKEND_URL")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"DLSTACK_HOME": str(home), "DLSTACK_NETWORK": network, VARIABLE: releases}
    environment |= {"PIP_NO_CACHE_DIR": "1", "YES": "1"}
    seconds: dict[str, float] = {}
    try:
        run("up", environment, seconds)
        if not only_up:
            run("deploy", environment, seconds)
    finally:
        command = "stop" if only_up else "down"
        subprocess.run([sys.executable, "-m", "local", command], cwd=ROOT, env=environment)
        shutil.rmtree(home, ignore_errors=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ways = ("registries", "mirror", "official")
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways[:2])
    parser.add_argument("--only-up", action="store_true", help="the cluster without a stack")
    parser.add_argument(
        "--folder", type=Path, help="for the homes, 20 GiB each, one at a time (default: TMPDIR)"
    )
    parser.add_argument(
        "--network", default="10.72.0.0/14", help="addresses (default: %(default)s)"
    )
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="first-up-") as folder:
        mirror = Path(folder) / "mirror"
        mirror.mkdir()
        if "mirror" in arguments.ways:
            pack_mirror(mirror)
        with served(mirror) as address:
            places = ("none", f"{address}/releases.json", "official")
            for way, place in zip(ways, places, strict=True):
                if way in arguments.ways:
                    print(f"== {way}", file=sys.stderr, flush=True)
                    results[way] = first_up(
                        Path(folder) / way, place, arguments.network, only_up=arguments.only_up
                    )
    titles = dict.fromkeys(title for seconds in results.values() for title in seconds)
    print(f"\n{'step, seconds (they overlap)':<72}" + "".join(f"{way:>12}" for way in results))
    for title in sorted(titles, key=lambda title: title.startswith("in all")):
        cells = (f"{s[title]:>12.1f}" if title in s else f"{'':>12}" for s in results.values())
        print(f"{title[:71]:<72}" + "".join(cells))
    sums = (sum(v for t, v in s.items() if t.startswith("in all")) for s in results.values())
    print(f"{'make up':<72}" + "".join(f"{one:>12.1f}" for one in sums))


if __name__ == "__main__":
    main()
