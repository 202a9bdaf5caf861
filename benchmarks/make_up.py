"""Where the seconds of one `make up` go, from what really happens meanwhile.

    python -m benchmarks.make_up [--stop] [--destroy] [--events]

It runs the two commands of `make up`, and notes down when Pulumi says that it makes a resource and
has made it, when pods and Jobs of the stack change their state, and when the containers write their
log lines. From the first answer of `pulumi up` on, that is the second goal of README's table.

  --destroy   take the stack down first: the timeline of an empty stack
  --stop      stop the cluster first (after --destroy): that of a cluster that is stopped
  --events    all that was noted down, not only the table

Printed are, for each step, when it begins and how long it takes, in seconds since the start; then
CPU seconds of the processes, looked at every 0.2 s: what begins and ends between two looks is left
out, so the machine's own count is there as well. Steps overlap.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.cluster import api  # noqa: E402
from local.platform import Platform  # noqa: E402

COMMANDS = (["up"], ["deploy"])
SHOWN_PROCESSES = 20
BROUGHT = "KUBECONFIG" in os.environ

#: Step, the event that begins it, the event that ends it: the first ones that match.
STEPS = (
    ("cluster: start, ready", r"^begin up", r"^end up"),
    ("data set, configuration", r"^begin deploy", r"pulumi: Updating"),
    ("program: start to its first resource", r"pulumi: Updating", r"Identity identity creat"),
    ("object store: made to ready", r"object-store-server creat", r"object-store-roll-out created"),
    ("  its pod: seen to running", r"pods object-store-\S+ seen", r"object-store: running"),
    ("buckets", r"output-bucket creating", r"data-bucket created"),
    ("uploads", r"Folder code creating", r"Folder data created"),
    ("Job's pod: made to running", r"training-job creating", r"training: running"),
    ("  agent: start, fetch", r"training: running", r"log training: Fetched"),
    ("  boot file: data, TensorFlow, network", r"training: Fetched", r"log training: Training"),
    ("  graph and first steps", r"log training: Training", r"log training: step"),
    ("  steps", r"log training: step", r"log training: step (\d+)/\1 "),
    ("  evaluation, export", r"log training: step (\d+)/\1 ", r"log training: Ran boot"),
    ("  publishing", r"log training: Ran boot", r"log training: Published"),
    ("notice that it is published", r"log training: Published", r"training-end (creat|updat)ed"),
    ("TensorBoard: made to ready", r"tensorboard-server creat", r"tensorboard-roll-out created"),
    ("prediction: made to ready", r"prediction-server (crea|upda)t", r"prediction-roll-out .*ed "),
    ("  its pod: seen to sync running", r"pods prediction-\S+ seen", r"sync: running"),
    ("  sync", r"sync: running", r"sync: terminated"),
    ("  server: running to ready", r"server: running$", r"server: running ready"),
    ("Pulumi's end", r"prediction-roll-out .*ed ", r"pulumi: Duration"),
    ("ten answers", r"pulumi: Duration", r"of 10 right"),
    ("from the start of `pulumi up` to ten answers", r"pulumi: Updating", r"of 10 right"),
    ("all", r"^begin up", r"^end deploy"),
)


@dataclass
class Events:
    """What happened when: seconds since the start, and a line."""

    began: float = field(default_factory=time.time)
    lines: list[tuple[float, str]] = field(default_factory=list)

    def add(self, line: str, at: float | None = None) -> None:
        self.lines.append(((time.time() if at is None else at) - self.began, line))

    def first(self, pattern: str, after: float = 0.0) -> float | None:
        return next(
            (at for at, line in self.lines if at >= after and re.search(pattern, line)), None
        )


def changes(path: str, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """Yield the objects of a collection as they change, also across a start of the cluster."""
    while not stop.is_set():
        try:
            yield from api.watch(api.identify(""), f"{path}?limit=500", 30)
        except api.NoAnswer:
            stop.wait(0.2)


def states(item: Mapping[str, Any]) -> dict[str, str]:
    """Return what a pod's containers, or a Job's conditions, are now."""
    status = item.get("status", {})
    found = {
        one["name"]: ", ".join(one["state"]) + (" ready" if one.get("ready") else "")
        for kind in ("initContainerStatuses", "containerStatuses")
        for one in status.get(kind, [])
    }
    if item.get("kind") == "Job":
        found |= {one["type"]: one["status"] for one in status.get("conditions", [])}
    return found


def note_changes(path: str, events: Events, stop: threading.Event) -> None:
    """Add a line for each object that appears, and for each state of it that is new."""
    known: dict[str, dict[str, str]] = {}
    kind = path.rpartition("/")[2]
    for item in changes(path, stop):
        name, now = item["metadata"]["name"], states(item)
        if name not in known:
            events.add(f"{kind} {name} seen")
        for part, state in now.items():
            if known.get(name, {}).get(part) != state:
                events.add(f"{kind} {name} {part}: {state}")
        known[name] = now


def note_logs(pods: Sequence[Mapping[str, Any]], events: Events) -> None:
    """Add the log lines since the start, at the time that the container runtime gave them."""
    cluster = api.identify("")
    for pod in pods:
        at = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        for one in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            for line in api.lines(cluster, f"{at}/log?container={one['name']}&timestamps=true", 0):
                stamp, _, text = line.decode(errors="replace").partition(" ")
                time_ = datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00").timestamp()
                if time_ >= events.began:
                    events.add(f"log {one['name']}: {text}", time_)


@dataclass
class Spent:
    """A process: its name, and its ticks when it was first and last seen."""

    name: str
    first: int
    last: int


def count_cpu(spent: dict[str, Spent], stop: threading.Event) -> None:
    """Keep what each process had spent when it was first and last seen, by id and start."""
    at_start = True
    while not stop.is_set():
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                pod = re.search(r"pod([0-9a-f-]{36})", (folder / "cgroup").read_text())
            except OSError:
                continue
            now = int(fields[11]) + int(fields[12])
            seen = spent.setdefault(
                f"{folder.name} {fields[19]}", Spent("", now if at_start else 0, now)
            )
            seen.last = now
            # Of one that has ended, nothing but its figures is left.
            if words[0]:
                command = " ".join([Path(words[0]).name, *words[1:4]])[:60]
                seen.name = f"{pod[1] if pod else ''}: {command}" if pod else command
        at_start = False
        stop.wait(0.2)


def busy_seconds() -> float:
    """CPU seconds that the machine has been busy since its start."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def run(command: list[str], events: Events) -> int:
    """Run a command of `python -m local`, and add its lines; return its exit status."""
    events.add(f"begin {command[0]}")
    with subprocess.Popen(
        [sys.executable, "-m", "local", *command],
        cwd=ROOT,
        # A cluster that this shell has brought is named so already.
        env={name: value for name, value in os.environ.items() if name != "KUBECONFIG" or BROUGHT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            events.add(f"pulumi: {line.strip()}" if command[0] == "deploy" else line.strip())
    events.add(f"end {command[0]}")
    return process.returncode


def show(events: Events, spent: Mapping[str, Spent], names: Mapping[str, str]) -> None:
    print(f"{'begins':>7} {'takes':>7}  s")
    for name, begins, ends in STEPS:
        start = events.first(begins)
        end = None if start is None else events.first(ends, start)
        if start is not None and end is not None:
            print(f"{start:7.1f} {end - start:7.1f}  {name}")
    sums: dict[str, float] = defaultdict(float)
    for process in spent.values():
        uid, colon, command = process.name.partition(": ")
        name = f"{names.get(uid, uid)}: {command}" if colon else process.name
        sums[name] += (process.last - process.first) / os.sysconf("SC_CLK_TCK")
    print(f"\n{'CPU s':>7}")
    for name, seconds in sorted(sums.items(), key=lambda one: -one[1])[:SHOWN_PROCESSES]:
        print(f"{seconds:7.1f}  {name}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--destroy", action="store_true", help="take the stack down first")
    parser.add_argument("--stop", action="store_true", help="stop the cluster first")
    parser.add_argument("--events", action="store_true", help="print all that was noted down")
    options = parser.parse_args()
    for name in ("destroy", "stop"):
        if getattr(options, name):
            subprocess.run([sys.executable, "-m", "local", name], cwd=ROOT, check=True)
    variables = Platform().environment()
    os.environ["KUBECONFIG"] = variables["KUBECONFIG"]
    namespace = f"namespaces/dlstack-{variables['PULUMI_STACK'].rpartition('/')[2]}"
    pods = f"/api/v1/{namespace}/pods"
    events, stop = Events(), threading.Event()
    spent: dict[str, Spent] = {}
    for path in (pods, f"/apis/batch/v1/{namespace}/jobs"):
        threading.Thread(target=note_changes, args=(path, events, stop), daemon=True).start()
    threading.Thread(target=count_cpu, args=(spent, stop), daemon=True).start()
    busy = busy_seconds()
    status = 0
    for command in COMMANDS:
        status = status or run(command, events)
    busy = busy_seconds() - busy
    stop.set()
    found = api.items(api.identify(""), pods)
    note_logs(found, events)
    events.lines.sort()
    if options.events or status:
        for at, line in events.lines:
            print(f"{at:7.2f} {line}")
    show(events, spent, {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in found})
    print(f"{busy:7.1f}  the whole machine, all its programs")
    return status


if __name__ == "__main__":
    sys.exit(main())
