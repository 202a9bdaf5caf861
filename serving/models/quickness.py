"""Which runs of a signature are so short that they need neither TensorFlow's threads nor a limit.

A run in the calling thread takes 45 us where one in TensorFlow's threads takes 125 us, but only the
latter can be told to give up. So the former is for what can't take long. Threads within operations
would cost it more than they gain, too: MNIST's `cnn` takes 240 us of one processor for one row,
and 490 us of two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2

_QUICK_SECONDS = 0.002
_SLOW_SECONDS = 0.005
"""Several runs in turn that take longer were not quick: with one thread they take longer than with
many."""

_MOST_SLOW = 4

_MOST_TRIES = 3

_STRETCH = 16
"""How many times larger than what was quick is tried: where time grows with the square of the size,
half a second."""

_SURPRISE_SECONDS = 0.1
"""What no run expected to be quick should take, even while others have the processor."""

_MOST_PROOFS = 1024

_UNBOUNDED = re.compile(r"While$|^(Ref)?Enter$|^For$|Dataset|Iterator|PyFunc|Queue|^Stage|Unstage")
"""Operations that can go on for ever, or wait: how long they take shows in no input's size."""


class Quickness:
    """Remembers up to which size of its inputs a signature was quick.

    Runs in the calling thread are judged by its processor's time: where all processors are busy,
    the clock says little. What is some times larger than what was quick is tried there, too: in
    TensorFlow's threads it would take twice as much of the processors, and beside others it would
    never look quick.

    Args:
        bounded: whether the graph has no operation that can go on for ever.
    """

    def __init__(self, *, bounded: bool) -> None:
        self._bounded = bounded
        self._bytes: float = -1
        """Inputs up to this size were quick."""
        self._slow_bytes = float("inf")
        """Inputs from this size on were tried and were not."""
        self._tries = 0
        """Of larger inputs, in turn, that were not quick: the first may be slow for being first."""
        self._proofs_needed = 1
        self._proofs = 0
        self._slow = 0
        """Runs in turn that were to be quick and were not."""

    def expected(self, size: float) -> bool:
        """Whether a run with inputs of `size` bytes will be quick, or is to be tried."""
        known = self._bytes
        return size <= known or size <= _STRETCH * known and size < self._slow_bytes

    def learn(self, size: float, seconds: float, processor: float | None) -> None:
        """Take note of how long a run took.

        Args:
            size: of its inputs.
            seconds: by the clock.
            processor: seconds of the calling thread's processor, where it ran in this thread.
        """
        # Threads may race here: at worst one of their measurements is lost.
        if processor is None:
            if self._bounded and seconds < _QUICK_SECONDS and size > self._bytes:
                self._proofs += 1
                if self._proofs >= self._proofs_needed:
                    self._bytes = size
            return
        if size > self._bytes:
            self._tries += 1
            if processor < _QUICK_SECONDS:
                self._bytes, self._tries = size, 0
            elif self._tries >= _MOST_TRIES:
                self._slow_bytes, self._tries = min(size, self._slow_bytes), 0
        else:
            self._slow = self._slow + 1 if processor > _SLOW_SECONDS else 0
        if seconds > _SURPRISE_SECONDS or self._slow >= _MOST_SLOW:
            # How long it takes depends on the values: believe it later each time.
            self._bytes, self._proofs, self._slow = -1, 0, 0
            self._proofs_needed = min(2 * self._proofs_needed, _MOST_PROOFS)


class Graph:
    """Says of the outputs of a graph what computing them takes, and whether it is bounded."""

    def __init__(self, graph: graph_pb2.GraphDef) -> None:
        self._nodes = {node.name: node for node in graph.node}
        self._functions = {one.signature.name: one.node_def for one in graph.library.function}
        self._bounded_functions: dict[str, bool] = {}

    def is_bounded(self, outputs: Iterable[str]) -> bool:
        """Whether nothing that these tensors (`x:0`) need can go on for ever."""
        return all(map(self._node_is_bounded, self._needed(outputs)))

    def operations(self, outputs: Iterable[str]) -> set[str]:
        """Return the operations that these tensors (`x:0`) need, those in functions among them."""
        found: set[str] = set()
        seen: set[str] = set()
        waiting = list(self._needed(outputs))
        while waiting:
            node = waiting.pop()
            found.add(node.op)
            fresh = set(self._called(node)) - seen
            seen |= fresh
            waiting += [inner for name in fresh for inner in self._functions.get(name, ())]
        return found

    def _needed(self, outputs: Iterable[str]) -> Iterator[node_def_pb2.NodeDef]:
        waiting = [_operation(name) for name in outputs]
        seen = set(waiting)
        while waiting:
            node = self._nodes.get(waiting.pop())
            if node is None:
                continue
            yield node
            fresh = {_operation(name) for name in node.input} - seen
            seen |= fresh
            waiting += fresh

    def _node_is_bounded(self, node: node_def_pb2.NodeDef) -> bool:
        if _UNBOUNDED.search(node.op):
            return False
        return all(map(self._function_is_bounded, self._called(node)))

    def _called(self, node: node_def_pb2.NodeDef) -> list[str]:
        # Before TensorFlow 2 a function is called by its name, as an operation.
        called = [node.op] if node.op in self._functions else []
        for value in node.attr.values():
            called += _functions_in(value)
        return called

    def _function_is_bounded(self, name: str) -> bool:
        known = self._bounded_functions.get(name)
        if known is None:
            # Functions that call each other in a circle: no end is in sight.
            self._bounded_functions[name] = False
            nodes = self._functions.get(name, ())
            known = self._bounded_functions[name] = all(map(self._node_is_bounded, nodes))
        return known


def _functions_in(value: attr_value_pb2.AttrValue) -> Iterator[str]:
    kind = value.WhichOneof("value")
    if kind == "func":
        yield value.func.name
    elif kind == "list":
        yield from (function.name for function in value.list.func)


def _operation(name: str) -> str:
    return name.lstrip("^").partition(":")[0]
