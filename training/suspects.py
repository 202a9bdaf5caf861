"""Which file of a data set is damaged, where TensorFlow's operations fail without saying it."""

from collections import deque
from collections.abc import Callable, Sequence

from store.errors import StoreError
from training.streams import REQUESTS, Folder, in_order

Problem = Callable[[Folder], str]
"""Reads a file and returns what is wrong with it; empty: nothing."""

_sets: deque[tuple[Sequence[Folder], Callable[[], Problem]]] = deque(maxlen=8)


def add(files: Sequence[Folder], problem: Callable[[], Problem]) -> None:
    """Note files that are read from now on, and what makes the function that looks at one."""
    _sets.append((files, problem))


def find() -> str:
    """Read the files again, until one is damaged: return what is wrong; empty if all are right."""
    for files, problem in reversed(_sets):
        print(f"A file is damaged. Looking for it among {len(files)}", flush=True)
        if found := next(filter(None, in_order(_patient(problem()), files, REQUESTS)), ""):
            return found
    return ""


def _patient(problem: Problem) -> Problem:
    def look(file: Folder) -> str:
        try:
            return problem(file)
        except (OSError, StoreError):
            # It is gone by now: this is about another one.
            return ""

    return look
