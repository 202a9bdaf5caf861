"""What a whole training job takes, beside the figures of a managed service's MNIST tutorial.

    python benchmarks/training_job.py [--rounds 3] [--model softmax --model cnn] [--workers 2]
        [--json FILE]
    python benchmarks/training_job.py --namespace dlstack-local [--json FILE]

The first form needs no cluster: the agent runs as a process against a real object store (SeaweedFS)
on this machine, with the code folder `training/mnist` and the real MNIST. The models take turns.
Printed are medians, and for the whole job the shortest and the longest.

With `--workers 2` each model is also trained by two workers that share the machine's cores: each
agent and its boot file keep to half of them. One worker has them all.

The second form changes nothing: it reads when the newest training Pod of a stack was started, and
when its log says that the model was published. Run it after `make up`.

  whole job          start of the agent (or of the Pod) to the published manifest, in seconds
  boot file          the boot file's process in it, from start to end
  check              the process that runs each signature of the model before it is published
  agent beyond them  the rest: start, fetching, publishing, the mirror's last round
  loop               steps per second while training
  of one worker's    the same as a share of the steps per second of one worker on all the cores
  peak memory        resident memory of the agent and its children together, looked at every 50 ms
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.run import packages  # noqa: E402
from tests.seaweedfs import SeaweedFS  # noqa: E402
from training.datasets.download_mnist import download  # noqa: E402

BUCKET = "benchmark"
CODE = ROOT / "training" / "mnist"
#: Of the tutorial "MNIST with MoXing": the linear model, 8 cores and one Tesla P100.
TUTORIAL = {"whole": "41.2", "loop": "530", "accuracy": "0.87"}
#: What is asked of each model on 2 cores.
ASKED = {
    "softmax": {"whole": "<= 8", "check": "<= 2", "beyond": "<= 1", "loop": ">= 4000"},
    "cnn": {"whole": "<= 29", "check": "<= 2", "beyond": "<= 1", "accuracy": ">= 0.99"},
}
#: What is asked of several workers. `softmax` is left out: its steps take 0.2 ms, less than a
#: message between two machines.
ASKED_OF_SEVERAL = {"share": ">= 0.85", "accuracy": ">= 0.99"}
ROWS = {
    "whole": ("whole job, s", "{:.1f}"),
    "boot": ("  boot file, s", "{:.1f}"),
    "check": ("  check of the model, s", "{:.1f}"),
    "beyond": ("  agent beyond them, s", "{:.1f}"),
    "loop": ("loop, steps/s", "{:.0f}"),
    "share": ("  of one worker's", "{:.2f}"),
    "accuracy": ("accuracy", "{:.4f}"),
    "memory": ("peak memory, MB", "{:.0f}"),
}


@dataclass(frozen=True)
class Job:
    """One finished job: seconds, steps per second, MB of 10^6 bytes."""

    whole: float
    boot: float
    check: float
    beyond: float
    loop: float
    accuracy: float
    memory: float | None
    """Of worker 0, if there are several."""
    share: float | None = None
    """Of the steps per second of one worker on the same cores."""


def resident_bytes(root: int) -> int:
    """Return the resident memory of a process and its descendants; pages they share count twice."""
    parents, resident = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in parentheses, may have spaces.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(folder.name)] = int(fields[1])
        resident[int(folder.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")

    def belongs(pid: int) -> bool:
        while pid not in (root, 0):
            pid = parents.get(pid, 0)
        return pid == root

    return sum(size for pid, size in resident.items() if belongs(pid))


@contextmanager
def peak_memory(root: int) -> Iterator[list[int]]:
    """Yield a list of one number: the highest `resident_bytes` so far."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], resident_bytes(root))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


class Agent:
    """Runs the agent on an object store that has code and data."""

    def __init__(self, store: SeaweedFS, checker: str) -> None:
        self._environment = {**os.environ, **store.environment(), "PYTHONPATH": str(ROOT)}
        self._client = store.client()
        self._jobs = 0
        self._client.create_bucket(Bucket=BUCKET)
        # As in the ConfigMap that a stack mounts.
        self._checker = Path(checker)
        (self._checker / "serving.zip").write_bytes(
            packages.archive("serving", packages.read("serving"))
        )
        (self._checker / "model-check.json").write_text("{}")
        data = Path(os.environ.get("DLSTACK_HOME") or Path.home() / ".dlstack") / "cache" / "mnist"
        download(data)
        for folder, prefix in ((CODE, "code"), (data, "data")):
            for file in folder.iterdir():
                if file.is_file():
                    self._client.put_object(
                        Bucket=BUCKET, Key=f"{prefix}/{file.name}", Body=file.read_bytes()
                    )

    def run(self, model: str, workers: int = 1) -> Job:
        """Train and publish `model` once, by workers that share the cores."""
        self._jobs += 1
        name = f"{model}-{self._jobs}"
        with tempfile.TemporaryDirectory() as work_dir:
            command = [
                *(sys.executable, "-m", "training", "--boot_file=train_mnist.py"),
                *(f"--code_url=s3://{BUCKET}/code", f"--data_url=s3://{BUCKET}/data"),
                f"--train_url=s3://{BUCKET}/runs/{name}",
                f"--model_url=s3://{BUCKET}/models/{name}",
                f"--run_hash={self._jobs:064x}",
                *(f"--checker={self._checker}", f"--work_dir={work_dir}"),
                *("--", f"--model={model}"),
            ]
            if workers > 1:
                port = free_port()
                command[3:3] = [f"--workers={workers}", f"--chief=127.0.0.1:{port}"]
            began, published, lines = time.monotonic(), None, []
            with ExitStack() as others:
                agents = [
                    others.enter_context(self._start(command, work_dir, index, workers))
                    for index in range(workers)
                ]
                agent = agents[0]
                with peak_memory(agent.pid) as peak:
                    assert agent.stdout is not None
                    for line in agent.stdout:
                        lines.append(line)
                        if line.startswith("Published version "):
                            published = time.monotonic() - began
                    agent.wait()
                    ended = time.monotonic() - began
        if published is None or agent.returncode:
            raise SystemExit(f"{model} failed:\n{''.join(lines[-20:])}")
        answer = self._client.get_object(Bucket=BUCKET, Key=f"models/{name}/1/manifest.json")
        manifest = json.loads(answer["Body"].read())
        boot, metrics = manifest["seconds"]["train"], manifest["metrics"]
        check = manifest["seconds"]["check"]
        return Job(
            whole=published,
            boot=boot,
            check=check,
            # Up to its very end, which is after the model is published.
            beyond=ended - boot - check,
            loop=metrics["steps_per_second"],
            accuracy=metrics["accuracy"],
            memory=peak[0] / 1e6,
        )

    def _start(
        self, command: list[str], work_dir: str, index: int, workers: int
    ) -> subprocess.Popen[str]:
        """Start the agent of one worker, on its part of the cores."""
        cores = sorted(os.sched_getaffinity(0))
        part = cores[index * len(cores) // workers : (index + 1) * len(cores) // workers]
        pinned = ["taskset", "--cpu-list", ",".join(map(str, part))] if workers > 1 else []
        return subprocess.Popen(
            [*pinned, *command],
            # Not the repository: its package is to be found as in the Job's Pod.
            cwd=work_dir,
            env={**self._environment, "JOB_COMPLETION_INDEX": str(index)},
            # The others' pipes would have to be read, too.
            stdout=subprocess.PIPE if index == 0 else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def on_this_machine(models: list[str], rounds: int, workers: int) -> dict[str, list[Job]]:
    """Return all jobs of each model, and of each with several workers."""
    jobs: dict[str, list[Job]] = {}
    with SeaweedFS() as store, tempfile.TemporaryDirectory() as checker:
        agent = Agent(store, checker)
        for _ in range(rounds):
            for model in models:
                jobs.setdefault(model, []).append(alone := agent.run(model))
                if workers > 1 and model != "softmax":
                    several = agent.run(model, workers)
                    share = several.loop / alone.loop
                    together = jobs.setdefault(f"{model}, {workers} workers", [])
                    together.append(replace(several, share=share))
    return jobs


def kubectl(*words: str) -> str:
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"kubectl {' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout


def seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds; the fractions that containerd writes have 9 digits."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()


def on_the_cluster(namespace: str) -> dict[str, list[Job]]:
    """Return the newest training job of a namespace that published a model."""
    selector = "app.kubernetes.io/component=training"
    listed = json.loads(
        kubectl("get", "pods", f"--namespace={namespace}", f"--selector={selector}", "-o=json")
    )["items"]
    # By its labels, also of jobs with several pods: the first one publishes.
    for pod in sorted(listed, key=lambda pod: pod["status"].get("startTime", ""), reverse=True):
        name = pod["metadata"]["name"]
        log = kubectl("logs", name, f"--namespace={namespace}", "--timestamps")
        published = re.search(r"^(\S+) Published version ", log, re.MULTILINE)
        ran = re.search(r"Ran boot file '.*' in ([\d.]+) s$", log, re.MULTILINE)
        metrics = re.search(
            r" accuracy (\S+)  steps \d+  train_seconds \S+  steps_per_second (\S+)", log
        )
        if not (published and ran and metrics):
            continue
        arguments = pod["spec"]["containers"][0]
        model = re.search(r"--model=(\w+)", " ".join(arguments.get("command", [])))
        whole = seconds(published[1]) - seconds(pod["status"]["startTime"])
        boot, check = float(ran[1]), 0.0
        if checked := re.search(r" Checked the model in ([\d.]+) s$", log, re.MULTILINE):
            check = float(checked[1])
        beyond = whole - boot - check
        job = Job(whole, boot, check, beyond, float(metrics[2]), float(metrics[1]), None)
        return {model[1] if model else "cnn": [job]}
    raise SystemExit(
        f"Namespace {namespace!r} has no pod of a job that published MNIST. Run 'make up' first."
    )


def table(jobs: Mapping[str, list[Job]]) -> Iterator[str]:
    """Yield the lines to print."""
    heads = ["", "tutorial", *(head for model in jobs for head in (model, "asked"))]
    lines = [heads]
    for row, (label, form) in ROWS.items():
        line = [label, TUTORIAL.get(row, "")]
        for model, done in jobs.items():
            values = [value for job in done if (value := getattr(job, row)) is not None]
            text = form.format(statistics.median(values)) if values else ""
            if row == "whole" and len(values) > 1:
                text += f" ({min(values):.1f}-{max(values):.1f})"
            line += [text, ASKED.get(model, ASKED_OF_SEVERAL).get(row, "")]
        lines.append(line)
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        yield f"{line[0]:{widths[0]}}  {'  '.join(cells)}"


def machine() -> str:
    """Describe what it ran on, and how busy that was."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return f"{cores} cores ({names[0] if names else platform.machine()}), load {load:.1f} at start"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="What a whole training job takes, beside a managed service's tutorial."
    )
    add: Any = parser.add_argument
    add("--rounds", type=int, default=3, help="jobs of each model (default: 3)")
    add("--model", action="append", choices=tuple(ASKED), help="default: all, in turns")
    add("--workers", type=int, default=1, help="train each also by so many (default: 1)")
    add("--namespace", help="look at the newest job of this Kubernetes namespace instead")
    add("--json", type=Path, metavar="FILE", help="write the figures of each job there, too")
    options = parser.parse_args()
    print(machine())
    if options.namespace:
        jobs = on_the_cluster(options.namespace)
    else:
        jobs = on_this_machine(options.model or list(ASKED), options.rounds, options.workers)
    print("\n".join(table(jobs)))
    if options.json:
        found = {model: [asdict(job) for job in done] for model, done in jobs.items()}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
