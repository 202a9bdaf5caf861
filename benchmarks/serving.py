"""The model server beside its peers and beside the model called in one process.

    python benchmarks/serving.py [--rounds 3] [--seconds 1.5] [--only "mosec,dlstack batch gRPC"]
                                 [--before COMMIT] [--json FILE]

One SavedModel (MNIST's `cnn`), one load generator (a small Go program, `benchmarks/load_generator`,
that sends prepared bytes in a closed loop over connections that stay open), the same machine.
`native bound` is a server without any meaning over TensorFlow's C API (`benchmarks/native_bound`).
Servers run one after another, all of them in each round, so that whatever else the machine does
meets all of them; printed are medians of the rounds. Answers are compared with TensorFlow's own.
Each peer is asked by the fastest protocol that it offers to clients outside, with its adaptive
batching on; requests that it refuses are listed, not timed. The first run installs the peers
(pinned, each in an environment of its own below ~/.dlstack/benchmarks) and takes minutes longer.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Not this script's folder: there, `serving` would be this very file.
sys.path[0] = str(ROOT)

from benchmarks.contestants import CONTESTANTS, Contestant, ours  # noqa: E402
from benchmarks.figures import CASES, ROWS, Case, Figures  # noqa: E402
from benchmarks.goals import print_goals  # noqa: E402
from benchmarks.installing import (  # noqa: E402
    CACHE,
    PEERS,
    checkout,
    free_ports,
    go_program,
    install,
    native_of,
)

COLD_START_SECONDS = 120

EXPORT = """
import sys
root, folder = sys.argv[1:]
sys.path[:0] = [root, f"{root}/training/mnist"]
from pathlib import Path
import numpy as np
from training.quiet_tensorflow import tf
from training.export import export_model
from mnist_models import RECIPES, model_of
tf.keras.utils.set_random_seed(1)
model = model_of(RECIPES["cnn"], np.zeros([2, 784], np.uint8))
export_model(Path(folder), model.module, model.signatures)
images = np.load(f"{folder}/images.npy")
answers = model.signatures["serving_default"](tf.constant(images))["probabilities"]
np.save(f"{folder}/answers.npy", answers.numpy())
from tensorflow.python.saved_model import loader_impl
graph = loader_impl.parse_saved_model(f"{folder}/model").meta_graphs[0]
signature = graph.signature_def["serving_default"]
names = signature.inputs["images"].name, signature.outputs["probabilities"].name
Path(f"{folder}/tensors").write_text(" ".join(names))
"""


def processes_below(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            children[int(stat.rpartition(")")[2].split()[1])].append(int(folder.name))
    found = [pid]
    for parent in found:
        found += children[parent]
    return found


def resident_bytes(pids: Sequence[int]) -> int:
    """Return the memory of processes; what they share counts once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


@contextmanager
def running(contestant: Contestant, base: Path, port: int, log: Path) -> Iterator[int]:
    """Start a server; yield its process id; end all of its processes."""
    names = (base.parent / "tensors").read_text().split()
    places = {"@BASE@": str(base)} | dict(zip(("@INPUT@", "@OUTPUT@"), names, strict=True))
    words = contestant.arguments(port)
    for place, value in places.items():
        words = [word.replace(place, value) for word in words]
    environment = os.environ | contestant.environment
    environment |= {
        "BENCHMARK_MODEL": str(base / "1"),
        "BENCHMARK_PORT": str(port),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            words,
            cwd=contestant.folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        family = processes_below(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in family[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def ask(
    program: Path, contestant: Contestant, port: int, body: Path, case: Case, *flags: str
) -> dict[str, Any]:
    """Run the load generator and return its report."""
    command = [
        *(str(program), f"-url={contestant.address(port)}", f"-body={body}"),
        *(f"-clients={case.clients}", *flags),
        *(f"-header={header}" for header in contestant.headers),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def write_bodies(contestant: Contestant, work: Path) -> dict[int, Path]:
    """Write the requests to files, and return these by the rows in them."""
    images = np.load(work / "images.npy")
    bodies = {}
    for rows in ROWS:
        bodies[rows] = work / f"{contestant.name.replace(' ', '-')}-{rows}"
        bodies[rows].write_bytes(contestant.request(images[:rows]))
    return bodies


@contextmanager
def answering(
    contestant: Contestant, base: Path, work: Path, port: int, body: Path
) -> Iterator[tuple[int, float]]:
    """Start a server; yield its process id, and the seconds until its first answer.

    Raises:
        RuntimeError: it gives none.
    """
    log = work / f"{contestant.name.replace(' ', '-')}.log"
    started = time.perf_counter()
    with running(contestant, base, port, log) as pid:
        try:
            first = (f"-await={COLD_START_SECONDS}", "-seconds=0", "-warm-up=0")
            ask(go_program("load_generator"), contestant, port, body, Case(1, 1), *first)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from None
        yield pid, time.perf_counter() - started


def measure(
    contestant: Contestant, base: Path, work: Path, seconds: float, figures: Figures
) -> None:
    """Start one server, put all loads on it, and note what came of it.

    Raises:
        RuntimeError: it does not start, or a request failed or was answered wrongly.
    """
    program, port = go_program("load_generator"), free_ports()
    answers = np.load(work / "answers.npy")
    bodies = write_bodies(contestant, work)
    with answering(contestant, base, work, port, bodies[1]) as (pid, seconds):
        figures.start_seconds[contestant.name].append(seconds)
        for case in CASES:
            times = (f"-seconds={seconds}", f"-warm-up={min(1.0, seconds / 2)}")
            report = ask(program, contestant, port, bodies[case.rows], case, *times)
            if not report["requests"] or (report["errors"] and contestant.ours):
                raise RuntimeError(f"{case}: {report['errors']} errors, {report['first_error']}")
            got = contestant.answer(base64.b64decode(report.pop("answer")), case.rows)
            # JSON rounds the pixels to four digits.
            if not np.allclose(got, answers[: case.rows], atol=1e-3):
                raise RuntimeError(f"{case}: the answer is not TensorFlow's")
            figures.loads[contestant.name, case].append(report)
        figures.bytes[contestant.name].append(resident_bytes(processes_below(pid)))


def in_process(base: Path, seconds: float) -> dict[int, float]:
    """Return rows per second by rows per call."""
    done = subprocess.run(
        [sys.executable, PEERS / "in_process.py", str(seconds)],
        env=os.environ
        | {"BENCHMARK_MODEL": str(base / "1"), "BENCHMARK_PORT": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the model can't be called in one process:\n{done.stderr[-2000:]}")
    return {int(rows): value for rows, value in json.loads(done.stdout).items()}


def print_tables(figures: Figures, limits: dict[int, float]) -> None:
    """Print everything that was measured."""
    names = list(figures.start_seconds)
    for case in CASES:
        clients = "1 client" if case.clients == 1 else f"{case.clients} clients"
        rows = "1 row" if case.rows == 1 else f"{case.rows} rows"
        print(f"\n{clients}, {rows} a request")
        titles = ("requests/s", "rows/s", "p50 ms", "p99 ms", "client", "refused")
        print(" " * 18, *(f"{title:>10}" for title in titles))
        for name in names:
            rate = figures.load(name, case, "per_second")
            print(
                f"{name:18} {rate:10.0f} {rate * case.rows:10.0f} "
                f"{figures.load(name, case, 'p50_ms'):10.2f} "
                f"{figures.load(name, case, 'p99_ms'):10.2f} "
                f"{figures.load(name, case, 'cpu_per_second'):10.0%} "
                f"{figures.load(name, case, 'errors'):10.0f}"
            )
    print("\nclient: CPU time of the load generator, of one core; it shares the machine's.")
    print(f"\n{'':18} {'cold start s':>12} {'memory MiB':>10}")
    for name in names:
        start, memory = figures.start_seconds[name], figures.bytes[name]
        print(
            f"{name:18} {statistics.median(start):12.1f} {statistics.median(memory) / 2**20:10.0f}"
        )
    print("\nThe model in one process, rows/s:")
    print("  " + ", ".join(f"{rows} a call: {value:.0f}" for rows, value in limits.items()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(contestant.name for contestant in CONTESTANTS)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each load; default: 1.5")
    parser.add_argument("--only", metavar="NAMES", help=f"comma-separated; default: {names}")
    parser.add_argument(
        "--before", metavar="COMMIT", help="also measure the server of this commit, batching"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians there, too")
    arguments = parser.parse_args()
    wanted = [name.strip() for name in (arguments.only or names).split(",")]
    if unknown := set(wanted) - {contestant.name for contestant in CONTESTANTS}:
        parser.error(f"{unknown} take no part. Use some of: {names}.")
    contestants = [contestant for contestant in CONTESTANTS if contestant.name in wanted]
    for contestant in contestants:
        if contestant.package:
            install(contestant.name, contestant.package, contestant.python)
        if contestant.program:
            go_program(contestant.program)
    go_program("load_generator")
    figures, limits = Figures(), defaultdict(list)
    failed: dict[str, str] = {}
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work = Path(folder)
        base = work / "mnist"
        base.mkdir()
        if arguments.before:
            before = work / "before"
            checkout(arguments.before, before)
            flags = (*native_of(before), "--enable_batching")
            contestants += ours("before", *flags, folder=before)
        images = np.random.default_rng(0).random((max(ROWS), 784), np.float32).round(3)
        np.save(work / "images.npy", images)
        subprocess.run(
            [sys.executable, "-c", EXPORT, str(ROOT), folder], check=True, capture_output=True
        )
        (work / "model").rename(base / "1")
        # Whoever starts first reads TensorFlow from the disk for those that follow: up to a second.
        first = next((one for one in contestants if one.ours), contestants[0])
        with answering(first, base, work, free_ports(), write_bodies(first, work)[1]):
            pass
        for number in range(1, arguments.rounds + 1):
            for contestant in contestants:
                print(f"round {number}: {contestant.name}", file=sys.stderr, flush=True)
                if contestant.name in failed:
                    continue
                try:
                    measure(contestant, base, work, arguments.seconds, figures)
                except RuntimeError as error:
                    failed[contestant.name] = str(error)
            print(f"round {number}: one process", file=sys.stderr, flush=True)
            for rows, value in in_process(base, arguments.seconds).items():
                limits[rows].append(value)
    for name in failed:
        figures.start_seconds.pop(name, None)
    medians = {rows: statistics.median(values) for rows, values in limits.items()}
    print(f"{platform.machine()}, {os.cpu_count()} cores; medians of {arguments.rounds} rounds")
    print_tables(figures, medians)
    print_goals(figures, medians)
    if arguments.json:
        content = figures.as_json() | {"one process": medians}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    for name, text in failed.items():
        print(f"\n{name} FAILED: {text}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
