"""Steps/s of two workers with a core each on two nodes, beside one worker with both cores.

    NODES=3 make up
    python -m benchmarks.workers_on_nodes [--rounds 3] [--model cnn]

On the embedded cluster of three nodes, with a stack of its own, which is taken down at the end. The
nodes share the machine's processors, so each node's pods are bound to the cores that they are to
have: the lone worker's node to two, each of the other's to one. The rest of the stack is on the
first node, and all pods go before what else the machine does, as far as control groups can say so.
Both take turns. Printed are the steps/s of each round, what part the two reach of the one, and the
accuracy. It needs root and two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local import node_count  # noqa: E402
from local.platform import Platform  # noqa: E402
from tests.cluster.conftest import Deployment, new_stack  # noqa: E402

LABEL = "benchmark"
"""Of nodes: `workers` has those that train, `rest` the others."""
WORKERS = ("dlstack-2", "dlstack-3")
GROUPS = Path("/sys/fs/cgroup")


class Cores:
    """The cores that the pods of nodes may use, by their control groups of either version."""

    def __init__(self, name: str) -> None:
        version_1 = (GROUPS / "cpuset").is_dir()
        self._group = (GROUPS / "cpuset" if version_1 else GROUPS) / name
        weight = ("cpu/{}/cpu.shares", "262144") if version_1 else ("{}/cpu.weight", "10000")
        self._weight, self._most = GROUPS / weight[0].format(name), weight[1]

    @contextmanager
    def first(self) -> Iterator[None]:
        """Have all pods go before what else runs on this machine, and all cores at the end."""
        before = self._weight.read_text()
        self._weight.write_text(self._most)
        try:
            yield
        finally:
            self._weight.write_text(before)
            everything = (GROUPS / "cpuset" / "cpuset.cpus").read_text().strip()
            self.give(dict.fromkeys(WORKERS, everything))

    def give(self, cores: Mapping[str, str]) -> None:
        """Bind the pods of nodes to cores: `0`, or `0-1`."""
        for node, which in cores.items():
            top = self._group / node / "kubepods"
            groups = [top, *(path for path in top.rglob("*") if path.is_dir())]
            # Whoever gets more begins above; whoever gets less, below.
            for group in [*groups, *reversed(groups)]:
                try:
                    (group / "cpuset.cpus").write_text(which)
                except OSError:
                    continue


def trained(deployment: Deployment, note: str, **values: str) -> dict[str, float]:
    """Train once more; return the metrics of the model."""
    deployment.configure(*(f"{key}={value}" for key, value in values.items()), f"env.ROUND={note}")
    if deployment.up().returncode:
        raise SystemExit("'pulumi up' failed.")
    found: Any = deployment.outputs()["published"]
    return dict(found["metrics"])


def place(deployment: Deployment, workers: int) -> None:
    """Have so many nodes take workers."""
    labels = dict.fromkeys(("dlstack", *WORKERS), "rest") | dict.fromkeys(
        WORKERS[:workers], "workers"
    )
    for node, label in labels.items():
        done = deployment.kubectl("label", "node", node, f"{LABEL}={label}", "--overwrite")
        assert done.returncode == 0, done.stderr


def measure(deployment: Deployment, cores: Cores, rounds: int) -> Iterator[tuple[Any, Any]]:
    """Yield the metrics of one worker and of two."""
    for number in range(rounds):
        cores.give(dict.fromkeys(WORKERS, "0-1"))
        place(deployment, 1)
        alone = trained(deployment, f"{number}-alone", nodeCount="1")
        place(deployment, 2)
        cores.give(dict(zip(WORKERS, ("0", "1"), strict=True)))
        yield alone, trained(deployment, f"{number}-together", nodeCount="2")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="of both (default: 3)")
    parser.add_argument("--model", default="cnn", help="of MNIST (default: cnn)")
    options = parser.parse_args()
    # So that cores and weights are given back, and the stack is taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    platform = Platform()
    if node_count.count(platform.cluster.folder) < 1 + len(WORKERS):
        raise SystemExit("The cluster has not three nodes. Run 'NODES=3 make up'.")
    cores = Cores(platform.home.name)
    shares = []
    with new_stack(platform, "benchmark") as deployment, cores.first():
        flavour = {"cpu": "100m", "memory": "2Gi", "nodeSelector": {LABEL: "workers"}}
        deployment.configure(
            *("deploy=false", "flavour=bound", f"flavours={json.dumps({'bound': flavour})}"),
            *(f"nodeSelector.{LABEL}=rest", f"runParameters.model={options.model}"),
        )
        for alone, together in measure(deployment, cores, options.rounds):
            one, two = (found["steps_per_second"] for found in (alone, together))
            shares.append(two / one)
            print(
                f"one worker {one:.0f} steps/s, two {two:.0f}: {two / one:.2f} of it; accuracy "
                f"{alone['accuracy']:.4f} and {together['accuracy']:.4f}; load "
                f"{os.getloadavg()[0]:.0f}",
                file=sys.stderr,
                flush=True,
            )
    print(f"two workers reach {statistics.median(shares):.2f} of one's steps/s (median)")


if __name__ == "__main__":
    main()
