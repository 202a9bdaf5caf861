"""One signature of a loaded model: what it takes and gives, and how it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from ..data_types import NUMPY_TYPES
from ..engine.saved_model import SavedModel
from ..errors import InvalidArgument, ServingError
from .output_sizes import OutputSizes
from .quickness import Quickness

if TYPE_CHECKING:
    # `serving.check` runs signatures where there is nothing for an event loop.
    from ..batching.merge import Parts
    from ..batching.queue import BatchQueue

DEFAULT_SIGNATURE = "serving_default"


class Signature:
    """One signature of a loaded model.

    Attributes:
        key: its name in the SavedModel.
        definition: the `SignatureDef`.
        inputs, outputs: alias to `TensorInfo`, sorted by alias.
        output_sizes: how large its outputs will be.
        single: the same model with one thread within operations, for what is quick; None: it has
            none.
        is_bounded: whether the graph has no operation that can go on for ever.
        queue: where requests meet to run together; None: each runs alone.
        response_head: what all answers to Predict begin with, serialised, once it is known.

    Args:
        bounded: whether the graph has no operation that can go on for ever.
        no_animations: whether the graph must not get some animated pictures.
        shrinks_jpeg: whether the graph decodes large JPEGs smaller.
    """

    queue: BatchQueue | None = None
    single: SavedModel | None = None
    response_head: bytes | None = None

    def __init__(
        self,
        key: str,
        definition: meta_graph_pb2.SignatureDef,
        *,
        bounded: bool = False,
        no_animations: bool = False,
        shrinks_jpeg: bool = False,
    ) -> None:
        self.key = key
        self.definition = definition
        self.inputs = dict(sorted(definition.inputs.items()))
        self.outputs = dict(sorted(definition.outputs.items()))
        self._odd_inputs = _odd(self.inputs)
        self._odd_outputs = _odd(self.outputs)
        self.no_animations = no_animations
        self.shrinks_jpeg = shrinks_jpeg
        self.output_sizes = OutputSizes()
        self.is_bounded = bounded
        self._quickness = Quickness(bounded=bounded)
        self._single_is_warm = False
        self._warming: threading.Thread | None = None
        self._lock = threading.Lock()

    def check(self, fetch: Sequence[str]) -> None:
        """Check that tensors go in and come out.

        Args:
            fetch: aliases of the outputs to compute.

        Raises:
            ServingError: an input or one of these outputs is something else.
        """
        for alias, problem in self._odd_inputs.items():
            raise InvalidArgument(
                f"Input '{alias}' of signature '{self.key}' is {problem}, which is not served. "
                "Save the model with a signature that takes dense tensors."
            )
        for alias in self._odd_outputs.keys() & fetch:
            raise InvalidArgument(
                f"Output '{alias}' of signature '{self.key}' is {self._odd_outputs[alias]}, which "
                "is not served. Leave it out by output_filter, over gRPC, or save the model with a "
                "signature that gives dense tensors."
            )

    def run(
        self, model: SavedModel, inputs: Parts, fetch: Sequence[str], ms: int
    ) -> dict[str, np.ndarray]:
        """Run the graph from and to aliases, for at most `ms` milliseconds (0: no limit).

        What is expected to be quick runs in the calling thread, where nothing could end it: 45 us
        instead of 125 us for MNIST's linear model. All else runs in TensorFlow's threads, which
        look at the limit after each operation.
        """
        size = sum(_size(part) for parts in inputs.values() for part in parts)
        quick = self._quickness.expected(size)
        feeds = {self.inputs[alias].name: value for alias, value in inputs.items()}
        names = [self.outputs[alias].name for alias in fetch]
        if quick and self.single is not None:
            if self._single_is_warm:
                model = self.single
            else:
                self._warm(self.single, feeds, names)
        started, processor = time.perf_counter(), time.thread_time()
        values = model.run(feeds, names, _IN_CALLING_THREAD if quick else _run_options(ms))
        used = time.thread_time() - processor if quick else None
        self._quickness.learn(size, time.perf_counter() - started, used)
        return dict(zip(fetch, values, strict=True))

    def end(self) -> None:
        """Wait until nothing runs here any more that no request waits for."""
        if self._warming is not None:
            self._warming.join()

    def _warm(self, single: SavedModel, feeds: Parts, names: Sequence[str]) -> None:
        """Run the copy once, beside the requests: for MNIST's `cnn` that takes 80 ms."""
        with self._lock:
            if self._warming is None:
                self._warming = threading.Thread(
                    target=self._run_first, args=(single, feeds, names), name="warm", daemon=True
                )
                self._warming.start()

    def _run_first(self, single: SavedModel, feeds: Parts, names: Sequence[str]) -> None:
        # What is wrong with a request is that one's to tell.
        with suppress(ServingError):
            single.run(feeds, names, _IN_CALLING_THREAD)
        self._single_is_warm = True


_IN_CALLING_THREAD = config_pb2.RunOptions(inter_op_thread_pool=-1).SerializeToString()

_MANY_STRINGS = 100


def _size(array: np.ndarray) -> float:
    """Return a size in bytes that says how much work an input is."""
    if array.dtype != object:
        return array.nbytes
    # Looking at the lengths of more would take longer than what there is to gain.
    return sum(map(len, array.flat)) if array.size <= _MANY_STRINGS else float("inf")


def _odd(infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, str]:
    """Return what is no tensor that can be sent: alias to what it is."""
    odd = {}
    for alias, info in infos.items():
        encoding = info.WhichOneof("encoding")
        if encoding == "coo_sparse":
            odd[alias] = "a SparseTensor"
        elif encoding == "composite_tensor":
            spec = info.composite_tensor.type_spec
            kind = spec.TypeSpecClass.Name(spec.type_spec_class).removesuffix("_SPEC")
            odd[alias] = f"a composite tensor ({kind.title().replace('_', '')})"
        elif info.dtype not in NUMPY_TYPES:
            odd[alias] = f"of data type {types_pb2.DataType.Name(info.dtype)}"
    return odd


def _run_options(timeout_ms: int) -> bytes:
    options: bytes = config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString()
    return options
