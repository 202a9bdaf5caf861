"""What the model server is to reach, beside what it does: all of one run of `serving.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.contestants import CONTESTANTS
from benchmarks.figures import Case, Figures
from benchmarks.installing import ROOT

WAYS = ("dlstack batch gRPC", "dlstack batch REST")
BEFORE = {"dlstack batch gRPC": "before gRPC", "dlstack batch REST": "before REST"}


@dataclass(frozen=True)
class Goal:
    """A figure and its bound."""

    text: str
    value: float
    bound: float
    at_least: bool = True

    def line(self) -> str:
        """Return how it is printed."""
        reached = self.value >= self.bound if self.at_least else self.value <= self.bound
        sign = ">=" if self.at_least else "<="
        return (
            f"  {'yes' if reached else 'NO ':3} {self.text}: {self.value:.2f} ({sign} {self.bound})"
        )


def print_goals(figures: Figures, limits: dict[int, float]) -> None:
    """Print the goals for which everything was measured that they compare."""
    goals = [
        *against_peers(figures),
        *against_one_process(figures, limits),
        *against_before(figures),
    ]
    for way in WAYS:
        if way in figures.start_seconds:
            start = statistics.median(figures.start_seconds[way])
            goals.append(Goal(f"{way}: cold start, s", start, 1.5, at_least=False))
    goals.append(Goal("--help, s", help_seconds(), 0.3, at_least=False))
    print("\nGoals, with --enable_batching:")
    for goal in goals:
        print(goal.line())


def against_peers(figures: Figures) -> list[Goal]:
    """Return the goals beside the best peer: which one that is, is measured, too."""
    goals = []
    peers = [c.name for c in CONTESTANTS if c.package and c.name in figures.start_seconds]
    for way in WAYS:
        if not peers or way not in figures.start_seconds:
            continue
        for case in (Case(64, 1), *([Case(64, 32)] if "gRPC" in way else [])):
            rates = {name: figures.load(name, case, "per_second") for name in peers}
            best = max(rates, key=rates.__getitem__)
            rate = figures.load(way, case, "per_second") / rates[best]
            goals.append(Goal(f"{way}, {case.rows} rows: rate to that of {best}", rate, 1.0))
        for case in (Case(64, 1), Case(64, 32)):
            tails = {name: figures.load(name, case, "p99_ms") for name in peers}
            best = min(tails, key=tails.__getitem__)
            tail = figures.load(way, case, "p99_ms") / tails[best]
            text = f"{way}, {case.rows} rows: p99 to that of {best}"
            goals.append(Goal(text, tail, 1.0, at_least=False))
    return goals


def against_one_process(figures: Figures, limits: dict[int, float]) -> list[Goal]:
    """Return the goal beside the model that is called without a server."""
    name = WAYS[0]
    if name not in figures.start_seconds:
        return []
    rows = max(figures.load(name, Case(n, 32), "per_second") * 32 for n in (8, 64))
    return [Goal(f"{name}, 32 rows: rows/s to calls in one process", rows / limits[32], 0.95)]


def against_before(figures: Figures) -> list[Goal]:
    """Return the goals beside the server of the commit that `--before` names."""
    goals = []
    for way, before in BEFORE.items():
        if way not in figures.start_seconds or before not in figures.start_seconds:
            continue
        cases = [(Case(1, 1), 1.0), (Case(8, 1), 1.0)]
        if "REST" in way:
            cases.append((Case(64, 32), 2.0))
        for case, bound in cases:
            rates = [figures.load(name, case, "per_second") for name in (way, before)]
            clients = "1 client" if case.clients == 1 else f"{case.clients} clients"
            text = f"{way}, {clients}, {case.rows} rows: rate to before"
            goals.append(Goal(text, rates[0] / rates[1], bound))
    return goals


def help_seconds() -> float:
    """Return how long `python -m serving --help` takes: the median of five."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "serving", "--help"], cwd=ROOT, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
