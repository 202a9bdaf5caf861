"""How fast files go to an object store, and how much memory that takes, on a real SeaweedFS.

    python -m benchmarks.store [--rounds 3] [--files 10000] [--large_gb 2] [--many 100000]
        [--memory_gb 3] [--only small large preview memory]

  small    many files of 1 to 4 kB: `folders.put`, which `pulumi up` calls, beside rclone with as
           many transfers at a time; both send all of them to an empty bucket
  large    one file of random bytes, beside rclone with as many parts at a time, of the same size
  preview  the checksums of many files: all read, and then unchanged (a look at each entry); to this
           comes what a `pulumi preview` takes anyway
  memory   peak of resident memory (MB of 10^6 bytes) of whole processes: the upload of a folder of
           many files, and of a sparse file of twice `--memory_gb`; the agent that fetches the files
           and publishes a model of `--memory_gb`; the sync of this model; TensorBoard's mirror of
           an event file of 700 MB

rclone is built from its Go module (`benchmarks/rclone`, minutes the first time). The disk needs
three times the largest of these files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.goals import Goal
from benchmarks.installing import ROOT, go_program
from infra.run import checksums
from store import buckets, folders
from store.client import Client, from_environment
from store.folders import LocalFile
from store.parallel import MEMORY_BYTES, THREADS
from store.sending import PART_BYTES
from store.urls import S3Url
from tests.seaweedfs import REGION, SeaweedFS

BUCKET = "benchmark"
PARTS_AT_A_TIME = MEMORY_BYTES // PART_BYTES
EVENT_FILE_BYTES = 700_000_000
MOST_MEMORY_MB = 200


def make_files(folder: Path, count: int) -> None:
    """Write `count` files of 1 to 4 kB, each of another content."""
    for number in range(count):
        file = folder / f"{number // 1000:04d}" / f"{number:07d}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(1000 + number * 37 % 3000))


def local_files(folder: Path) -> list[LocalFile]:
    """Return the files of a folder, hashed."""
    return [
        LocalFile(path, (folder / path).stat().st_size, sha256, f"{folder}/{path}")
        for path, sha256 in checksums.data(folder, "the benchmark's folder").items()
    ]


@contextmanager
def store() -> Iterator[tuple[SeaweedFS, Client]]:
    """Yield an empty store with one bucket."""
    with SeaweedFS() as server:
        os.environ.update(server.environment())
        client = from_environment()
        buckets.create(client, BUCKET)
        yield server, client
        client.close()


def rclone(server: SeaweedFS, source: Path, *flags: str) -> None:
    """Copy a folder to the bucket."""
    environment = {
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": server.access_key,
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": server.secret_key,
        "RCLONE_CONFIG_S3_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_S3_REGION": REGION,
    }
    subprocess.run(
        [go_program("rclone"), "copy", source, f"s3:{BUCKET}", "--config=", *flags],
        env={**os.environ, **environment},
        check=True,
    )


def seconds(action: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.monotonic()
    action()
    return time.monotonic() - began


def in_turn(rounds: int, folder: Path, *flags: str) -> tuple[float, float]:
    """Return the medians of our seconds and of rclone's, each with a store of its own."""
    files, ours, theirs = local_files(folder), [], []
    for _ in range(rounds):
        with store() as (_, client):
            ours.append(seconds(lambda: folders.put(client, BUCKET, files)))  # noqa: B023
        with store() as (server, _):
            theirs.append(seconds(lambda: rclone(server, folder, *flags)))  # noqa: B023
    return statistics.median(ours), statistics.median(theirs)


def small(work: Path, options: argparse.Namespace) -> list[Goal]:
    """Send many small files."""
    folder = work / "small"
    make_files(folder, options.files)
    # Else it looks whether each of them is there.
    flags = (f"--transfers={THREADS}", f"--checkers={THREADS}", "--no-traverse")
    ours, theirs = in_turn(options.rounds, folder, *flags)
    shutil.rmtree(folder)
    print(f"{options.files:,} small files: {ours:.1f} s; rclone {theirs:.1f} s")
    return [Goal("small files, times rclone's seconds", ours / theirs, 2, at_least=False)]


def large(work: Path, options: argparse.Namespace) -> list[Goal]:
    """Send one large file."""
    folder = work / "large"
    folder.mkdir()
    size = int(options.large_gb * 1e9)
    with (folder / "file").open("wb") as file:
        for _ in range(size // 1_000_000):
            file.write(os.urandom(1_000_000))
    flags = (
        f"--s3-upload-concurrency={PARTS_AT_A_TIME}",
        f"--s3-chunk-size={PART_BYTES}B",
        "--s3-disable-checksum",
    )
    ours, theirs = in_turn(options.rounds, folder, *flags)
    shutil.rmtree(folder)
    for name, took in (("ours", ours), ("rclone", theirs)):
        print(f"{size / 1e9:g} GB, {name}: {took:.1f} s, {size / took / 1e6:.0f} MB/s")
    return [Goal("one large file, share of rclone's speed", theirs / ours, 0.8)]


def preview(work: Path, options: argparse.Namespace) -> list[Goal]:
    """Take checksums of many files twice."""
    folder = work / "many"
    make_files(folder, options.many)
    # What was written just now is read again.
    time.sleep(4)
    cold = seconds(lambda: checksums.data(folder, "x"))
    warm = seconds(lambda: checksums.data(folder, "x"))
    shutil.rmtree(folder)
    print(f"checksums of {options.many:,} files: {cold:.1f} s; unchanged {warm:.2f} s")
    return [Goal("checksums of unchanged files, s", warm, 3, at_least=False)]


UPLOAD = """
import sys
from pathlib import Path
from benchmarks.store import BUCKET, local_files
from store import folders
from store.client import from_environment
print(folders.put(from_environment(), BUCKET, local_files(Path(sys.argv[1]))).prefix)
"""

BOOT = """
import argparse, json
from pathlib import Path
parser = argparse.ArgumentParser()
for name in ("--data_url", "--train_url", "--bytes"):
    parser.add_argument(name)
options = parser.parse_args()
model = Path(options.train_url) / "model"
(model / "variables").mkdir(parents=True)
(model / "saved_model.pb").write_bytes(b"\\x08\\x01")
with (model / "variables" / "variables.data-00000-of-00001").open("wb") as file:
    file.truncate(int(options.bytes))
(Path(options.train_url) / "metrics.json").write_text("{}")
"""


def peak_of(command: list[str | Path]) -> float:
    """Return the peak of resident memory of a process, without its children, in MB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, peak_now(process))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{command} failed")
    return peak


def peak_now(process: subprocess.Popen[bytes]) -> float:
    """Return the highest resident memory of a process until now, in MB."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0][1]) * 1024 / 1e6 if lines else 0.0


def memory(work: Path, options: argparse.Namespace) -> list[Goal]:
    """Let whole processes move much."""
    size = int(options.memory_gb * 1e9)
    found: dict[str, float] = {}
    python = sys.executable
    many = work / "many"
    make_files(many, options.many)
    with store() as (_, client):
        name = f"upload of {options.many:,} files"
        found[name] = peak_of([python, "-c", UPLOAD, many])
        data = folders.index(
            BUCKET, folders.digest({one.path: one.sha256 for one in local_files(many)})
        )
        shutil.rmtree(many)
        code = work / "code"
        code.mkdir()
        (code / "boot.py").write_text(BOOT)
        agent: list[str | Path] = [
            *(python, "-m", "training", "--boot_file=boot.py", f"--data_url={data}"),
            f"--code_url={folders.put(client, BUCKET, local_files(code))}",
            *(f"--train_url=s3://{BUCKET}/runs/r", f"--model_url=s3://{BUCKET}/models/m"),
            *(f"--run_hash={'a' * 64}", f"--work_dir={work / 'agent'}", "--", f"--bytes={size}"),
        ]
        name = f"agent: {options.many:,} files fetched, {size / 1e9:g} GB published"
        found[name] = peak_of(agent)
        sync: list[str | Path] = [
            *(python, "-m", "serving.sync", f"--source_url=s3://{BUCKET}/models/m"),
            *("--model_version=1", f"--target_dir={work / 'models'}"),
        ]
        found[f"sync of {size / 1e9:g} GB"] = peak_of(sync)
        shutil.rmtree(work / "models")
    with store() as (_, client):
        found["TensorBoard's mirror of 700 MB"] = of_mirror(work, client)
    with store():
        sparse = work / "sparse"
        sparse.mkdir()
        with (sparse / "file").open("wb") as file:
            file.truncate(2 * size)
        found[f"upload of one file of {2 * size / 1e9:g} GB"] = peak_of(
            [python, "-c", UPLOAD, sparse]
        )
    for name, peak in found.items():
        print(f"{name}: {peak:.0f} MB")
    return [
        Goal(f"memory, {name}, MB", peak, MOST_MEMORY_MB, at_least=False)
        for name, peak in found.items()
    ]


def of_mirror(work: Path, client: Client) -> float:
    """Return the peak of TensorBoard's mirror until it has one large event file."""
    from store.transfers import upload_file

    name, target = "events.out.tfevents.1.host", work / "mirror"
    events = work / name
    with events.open("wb") as file:
        file.truncate(EVENT_FILE_BYTES)
    upload_file(client, events, S3Url(BUCKET, f"runs/r/{name}"))
    events.unlink()
    command = [
        *(sys.executable, "-m", "training", "mirror", f"--source_url=s3://{BUCKET}/runs"),
        f"--target_dir={target}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    copy, until = target / "r" / name, time.monotonic() + 300
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while not copy.exists() or copy.stat().st_size < EVENT_FILE_BYTES:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the mirror has not got the event file")
            time.sleep(0.1)
        peak = peak_now(process)
        process.kill()
    shutil.rmtree(target)
    return peak


PARTS: Mapping[str, Callable[[Path, argparse.Namespace], list[Goal]]] = {
    "small": small,
    "large": large,
    "preview": preview,
    "memory": memory,
}


def main() -> None:
    """Measure, and say which goals are reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="of small and large; default 3")
    parser.add_argument("--files", type=int, default=10_000, help="small files; default 10000")
    parser.add_argument("--large_gb", type=float, default=2.0, help="of the large file; default 2")
    parser.add_argument("--many", type=int, default=100_000, help="files; default 100000")
    parser.add_argument("--memory_gb", type=float, default=3.0, help="of the model; default 3")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    goals = []
    with tempfile.TemporaryDirectory(prefix="dlstack-benchmark-") as work:
        # Neither found nor left.
        os.environ["XDG_CACHE_HOME"] = f"{work}/caches"
        for name in options.only:
            goals += PARTS[name](Path(work), options)
    print("\nGoals:")
    for goal in goals:
        print(goal.line())


if __name__ == "__main__":
    main()
