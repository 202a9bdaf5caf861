"""Where the batches come from: a function of their number, or a `tf.data.Dataset`."""

import ctypes
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.command_line import TrainingError
from training.quiet_tensorflow import tf
from training.steps.distribution import Distribution

Batches = Callable[["tf.Tensor", "tf.Tensor | int", int], "Sequence[tf.Tensor]"]
"""Batch number (int64 scalar, from 0), which share of it (from 0), how many equal shares -> the
tensors of that share. It runs in the training graph, and the same numbers always give the same
examples: that is what a resumed run relies on."""

Share = Callable[["tf.Tensor | int", int], Sequence[Any]]
"""Which share of one batch, of how many -> what the loss is computed from."""

_FILES = (".index", ".data-00000-of-00001")
"""A checkpoint of an iterator."""


class Inputs(ABC):
    """The batches of a run."""

    @abstractmethod
    def begin(self, done: int, position: bytes) -> None:
        """Go to the batch after the first `done`.

        Args:
            position: what `position` returned there, in an earlier attempt; empty: none is known.
        """

    @abstractmethod
    def draw(self, number: "tf.Tensor") -> Share:
        """Return the next batch, which is number `number`; for use in a graph, after `begin`."""

    @abstractmethod
    def position(self) -> bytes:
        """Return where the next batch begins, for `begin`."""

    @property
    @abstractmethod
    def has_position(self) -> bool:
        """Whether `begin` needs more than the number of batches."""


class FunctionInputs(Inputs):
    """Batches that a function makes from their numbers."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def begin(self, done: int, position: bytes) -> None:
        pass

    def draw(self, number: "tf.Tensor") -> Share:
        def share_of(share: "tf.Tensor | int", shares: int) -> Sequence[Any]:
            # By the processor, which makes the next one while a GPU computes.
            with tf.device("CPU"):
                return self._batches(number, share, shares)

        return share_of

    def position(self) -> bytes:
        return b""

    has_position = False


class DatasetInputs(Inputs):
    """Batches of a dataset, which begins anew when it ends.

    On every worker it gives either whole batches, of which each replica takes its rows, or this
    worker's share of them.

    Raises:
        TrainingError: its elements are not batches of `batch_size` examples.
    """

    def __init__(
        self, dataset: "tf.data.Dataset", batch_size: int, distribution: Distribution
    ) -> None:
        self._batch_size, self._distribution = batch_size, distribution
        self._of_worker = batch_size // distribution.workers
        self._sizes = sorted({batch_size, self._of_worker})
        self._check(dataset.element_spec)
        # The last batch of a pass may be smaller. A first one that is, is an error of the user's.
        numbered = dataset.enumerate()
        whole = numbered.filter(lambda number, batch: (number == 0) | self._is_whole(batch))
        self._dataset = whole.map(lambda _, batch: batch).repeat()
        self._can_save = _shuffles(dataset) <= 1
        self._iterator: Any = None

    has_position = True

    def begin(self, done: int, position: bytes) -> None:
        if done and not position:
            self._read_up_to(done, "its position can't be saved")
            return
        self._iterator = _iterator(self._dataset)
        if not position:
            return
        with tempfile.TemporaryDirectory() as folder:
            _unpack(position, Path(folder))
            state = tf.train.Checkpoint(iterator=self._iterator)
            try:
                state.read(f"{folder}/position").assert_consumed()
            except (tf.errors.OpError, AssertionError, ValueError):
                # What is read in a store is read by other operations than files of this machine.
                self._read_up_to(
                    done,
                    "the position in the checkpoint is of another way to read it, as another "
                    "data mode is",
                )

    def _read_up_to(self, done: int, why: str) -> None:
        print(f"Reading the data set up to step {done}: {why}", flush=True)
        self._iterator = _iterator(self._dataset.skip(done))

    def position(self) -> bytes:
        if not self._can_save:
            return b""
        with tempfile.TemporaryDirectory() as folder:
            try:
                tf.train.Checkpoint(iterator=self._iterator).write(f"{folder}/position")
            except (tf.errors.FailedPreconditionError, tf.errors.UnimplementedError):
                # It calls Python code or draws random numbers, or is a generator.
                self._can_save = False
                return b""
            return _pack(Path(folder))

    def draw(self, number: "tf.Tensor") -> Share:
        batch = self._iterator.get_next()
        rows = _rows(batch)
        right = tf.debugging.Assert(
            tf.reduce_any(tf.equal(rows, self._sizes)), [self._wrong("it has"), rows]
        )
        with tf.control_dependencies([right]):
            rows = tf.identity(rows)

        def share_of(share: "tf.Tensor | int", shares: int) -> Sequence[Any]:
            size = self._batch_size // shares
            here = share - self._distribution.first_replica
            first = tf.where(rows == self._batch_size, share, here) * size

            def part(values: Any) -> Any:
                if shares > 1:
                    values = values[first : first + size]
                if isinstance(values, tf.Tensor):
                    values = tf.ensure_shape(values, [size, *values.shape[1:]])
                return values

            with tf.control_dependencies([rows]):
                found = tf.nest.map_structure(part, batch)
            return found if isinstance(found, tuple) else (found,)

        return share_of

    def _is_whole(self, batch: Any) -> "tf.Tensor":
        return tf.reduce_any(tf.equal(_rows(batch), self._sizes))

    def _check(self, spec: Any) -> None:
        shapes = [part.shape for part in tf.nest.flatten(spec)]
        known = {shape[0] for shape in shapes if shape.rank}
        if any(shape.rank == 0 for shape in shapes) or not known <= {None, *self._sizes}:
            shown = ", ".join(str(tuple(shape)) for shape in shapes if shape.rank is not None)
            raise TrainingError(self._wrong(f"an element's shapes are {shown}"))

    def _wrong(self, found: str) -> str:
        return (
            f"input_fn has to return a dataset of batches of {self._batch_size} examples, but "
            f"{found}. Let it end with '.batch(settings.batch_size)'."
        )


def inputs_of(made: Any, batch_size: int, distribution: Distribution) -> Inputs:
    """Return the batches that an `input_fn` has made."""
    if isinstance(made, tf.data.Dataset):
        return DatasetInputs(made, batch_size, distribution)
    if not callable(made):
        raise TrainingError(
            f"input_fn returned {type(made).__name__}. Let it return a tf.data.Dataset of batches, "
            "or a function of a batch's number such as training.batches.ShuffledBatches."
        )
    return FunctionInputs(made)


def _iterator(dataset: "tf.data.Dataset") -> Any:
    iterator: Any = iter(dataset)
    # Freed at the end of the process, it would wait for a thread that reads ahead, which waits
    # for Python's lock if the dataset calls Python code: for ever.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(iterator._iterator_resource))
    return iterator


def _rows(batch: Any) -> "tf.Tensor":
    """Return how many examples a batch has, int64."""
    first = tf.nest.flatten(batch)[0]
    if isinstance(first, tf.RaggedTensor):
        return tf.cast(first.nrows(), tf.int64)
    shape = first.dense_shape if isinstance(first, tf.SparseTensor) else tf.shape(first, tf.int64)
    return shape[0]


def _shuffles(dataset: Any) -> int:
    """Return how many operations shuffle anew in each pass.

    A restored iterator forgets the seeds of an inner one that has ended (TensorFlow 2.21): the
    passes that follow would have another order.
    """
    here = "Shuffle" in type(dataset).__name__
    return here + sum(_shuffles(one) for one in dataset._inputs())


def _pack(folder: Path) -> bytes:
    index, data = ((folder / f"position{ending}").read_bytes() for ending in _FILES)
    return len(index).to_bytes(8, "little") + index + data


def _unpack(position: bytes, folder: Path) -> None:
    length = int.from_bytes(position[:8], "little")
    parts = (position[8 : 8 + length], position[8 + length :])
    for ending, content in zip(_FILES, parts, strict=True):
        (folder / f"position{ending}").write_bytes(content)
