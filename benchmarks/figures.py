"""What `benchmarks/serving.py` measures."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

CLIENTS = (1, 8, 64)
ROWS = (1, 32)


@dataclass(frozen=True)
class Case:
    """What is asked at the same time."""

    clients: int
    rows: int


CASES = [Case(clients, rows) for clients in CLIENTS for rows in ROWS]


class Figures:
    """What was measured, by contestant: each a list with one value a round."""

    def __init__(self) -> None:
        self.loads: dict[tuple[str, Case], list[dict[str, Any]]] = defaultdict(list)
        self.start_seconds: dict[str, list[float]] = defaultdict(list)
        self.bytes: dict[str, list[int]] = defaultdict(list)

    def load(self, name: str, case: Case, key: str) -> float:
        """Return the median of one value of the load generator's reports."""
        return statistics.median(float(report[key]) for report in self.loads[name, case])

    def as_json(self) -> dict[str, Any]:
        """Return the medians."""
        keys = ("per_second", "p50_ms", "p99_ms", "cpu_per_second")
        return {
            name: {
                "cold_start_seconds": statistics.median(self.start_seconds[name]),
                "resident_bytes": statistics.median(self.bytes[name]),
                "cases": [
                    vars(case) | {key: self.load(name, case, key) for key in keys} for case in CASES
                ],
            }
            for name in self.start_seconds
        }
