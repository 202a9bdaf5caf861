"""Synchronous data-parallel training: each replica takes its share of every batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from training.command_line import TrainingError, WorkerLost
from training.quiet_tensorflow import tf
from training.steps.ring import Ring
from training.tf_config import Cluster

_Values = TypeVar("_Values")
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


class Distribution:
    """The replicas that train one model: each worker of TF_CONFIG, and each GPU of a worker.

    A worker keeps its variables to itself. It reduces gradients with the others, and all apply the
    same mean to equal weights, so that these stay equal. (Variables made in a strategy's scope
    would be the usual way. There, optimizers of Keras 3 sum what they are given over the replicas
    once more, after clipping it by the norm of one share; and `fit` doesn't work at all.)

    Workers with GPUs are joined by TensorFlow's collectives, which use NCCL; others by a `Ring`.

    To be made before TensorFlow does anything: afterwards it can't set up the connections.
    """

    def __init__(self) -> None:
        self._cluster = Cluster.of_environment()
        self._strategy: Any = None
        self._ring: Ring | None = None
        if self._cluster.workers > 1 and not tf.config.list_physical_devices("GPU"):
            self._ring = Ring(self._cluster.addresses, self._cluster.index)
        elif self._cluster.workers > 1:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        elif len(tf.config.list_logical_devices("GPU")) > 1:
            self._strategy = tf.distribute.MirroredStrategy()
        self.replicas: int = (
            self._strategy.num_replicas_in_sync if self._strategy else self._cluster.workers
        )
        self.workers = self._cluster.workers
        self.index = self._cluster.index
        self.first_replica = self.replicas // self.workers * self.index
        """The number of this worker's first replica."""

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that logs, saves, evaluates and exports."""
        return self._cluster.is_chief

    def check_batch_size(self, batch_size: int) -> None:
        """Raise TrainingError unless all shares of a batch can be equal."""
        if batch_size % self.replicas:
            raise TrainingError(
                f"A batch of {batch_size} can't be shared equally by {self.replicas} replicas. "
                f"Give a --batch_size that is a multiple of {self.replicas}."
            )

    def mean(self, compute: "Callable[[tf.Tensor | int, int], _Values]") -> _Values:
        """Return the mean over all replicas of what `compute` returns; for use in a graph.

        Args:
            compute: which share (from 0), and of how many -> tensors in any structure.
        """
        # What is below is not converted by AutoGraph unless it is needed.
        return compute(0, 1) if self.replicas == 1 else self._mean_of_replicas(compute)

    def _mean_of_replicas(self, compute: "Callable[[tf.Tensor | int, int], _Values]") -> _Values:
        def replica(number: "tf.Tensor | int") -> Any:
            values = compute(number, self.replicas)
            # Gradients of embeddings come as slices, and of variables without use as None.
            flat = [
                None if value is None else tf.convert_to_tensor(value)
                for value in tf.nest.flatten(values)
            ]
            given = [value for value in flat if value is not None]
            means = iter(self._reduced(given, mean=True))
            return tf.nest.pack_sequence_as(
                values, [None if value is None else next(means) for value in flat]
            )

        found: _Values = self._run(replica)
        return found

    def _run(self, replica: "Callable[[tf.Tensor | int], Any]") -> Any:
        """Run on each of this worker's replicas, by its number; return what the first returns.

        What is reduced is the same for all.
        """
        if self._strategy is None:
            return replica(self.index)

        def numbered() -> Any:
            return replica(tf.distribute.get_replica_context().replica_id_in_sync_group)

        return tf.nest.map_structure(self._local, self._strategy.run(numbered))

    def copy_from_chief(self, given: Sequence[Any]) -> None:
        """Give variables, of TensorFlow or Keras, on all workers the chief's values."""
        if self._cluster.workers == 1:
            return
        variables = [one if isinstance(one, tf.Variable) else one.value for one in given]

        def replica(number: "tf.Tensor | int") -> Any:
            first = tf.equal(number, 0)
            # Not every type can be summed over a network.
            values = [
                tf.cast(variable, variable.dtype if variable.dtype.is_floating else tf.int64)
                for variable in variables
            ]
            return self._reduced([tf.where(first, value, tf.zeros_like(value)) for value in values])

        @tf.function  # type: ignore[untyped-decorator]
        def copy() -> None:
            for variable, value in zip(variables, self._run(replica), strict=True):
                variable.assign(tf.cast(value, variable.dtype))

        copy()

    def exchange(self, texts: Sequence[bytes]) -> list[bytes]:
        """Return what all workers have given together, each for some of the workers.

        Args:
            texts: one for each worker; empty where another worker has it.
        """
        if self._cluster.workers == 1:
            return list(texts)
        lengths = self._sums(np.array([len(text) for text in texts], np.int64))
        width = (int(lengths.max()) + 7) // 8
        padded = b"".join(text.ljust(width * 8, b"\0") for text in texts)
        # All others have zeros in its place.
        sums = self._sums(np.frombuffer(padded, np.int64)) if width else np.zeros(0, np.int64)
        rows = sums.reshape(len(texts), -1)
        return [row.tobytes()[:length] for row, length in zip(rows, lengths, strict=True)]

    def chief_says(self, number: int) -> int:
        """Return the chief's number on all workers."""
        if self._cluster.workers == 1:
            return number
        return int(self._sums(np.array([number if self.is_chief else 0], np.int64))[0])

    def _sums(self, numbers: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Return the sums over all workers: int64 [n] -> int64 [n]."""
        found: np.ndarray[Any, Any] = self._added(tf.constant(numbers)).numpy()
        return found

    @cached_property
    def _added(self) -> Any:
        """The graph of `_sums`, made once: it is called at each checkpoint."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])  # type: ignore[untyped-decorator]
        def added(here: "tf.Tensor") -> "tf.Tensor":
            def replica(number: "tf.Tensor | int") -> Any:
                first = tf.equal(number, self.first_replica)
                # One replica of each worker speaks for it.
                given = tf.where(first, here, tf.zeros_like(here))
                return self._reduced([given])[0]

            return self._run(replica)

        return added

    def await_all(self) -> None:
        """Return when all workers have called it: one that leaves early fails the others."""
        self.chief_says(0)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn TensorFlow's error for a lost connection into a WorkerLost."""
        try:
            yield
        except (*_LOST, tf.errors.UnknownError) as error:
            # An error of Python's in the graph is one that TensorFlow does not know.
            is_unknown = isinstance(error, tf.errors.UnknownError)
            if self._cluster.workers == 1 or (is_unknown and not self._is_broken):
                raise
            raise WorkerLost(
                f"Worker {self._cluster.index} has lost another one ({type(error).__name__}). "
                "The logs of the others tell why. Started again, all go on from the checkpoint."
            ) from error

    def _local(self, value: Any) -> Any:
        """Return the first of this worker's values, which are equal."""
        return None if value is None else self._strategy.experimental_local_results(value)[0]

    def _reduced(self, values: "Sequence[tf.Tensor]", *, mean: bool = False) -> "list[tf.Tensor]":
        """Return the sums, or the means, over all replicas.

        One call takes values of one type only: it packs them together.
        """
        found: dict[int, tf.Tensor] = {}
        for dtype in dict.fromkeys(value.dtype for value in values):
            places = [place for place, value in enumerate(values) if value.dtype == dtype]
            given = [values[place] for place in places]
            if self._ring is not None:
                reduced = _around(self._ring, given, mean=mean)
            else:
                operation = tf.distribute.ReduceOp.MEAN if mean else tf.distribute.ReduceOp.SUM
                reduced = tf.distribute.get_replica_context().all_reduce(operation, given)
            found.update(zip(places, reduced, strict=True))
        return [found[place] for place in range(len(values))]

    @property
    def _is_broken(self) -> bool:
        return self._ring is not None and self._ring.is_broken


def _around(ring: Ring, values: "Sequence[tf.Tensor]", *, mean: bool) -> "list[tf.Tensor]":
    """Return the sums, or the means, of tensors of one type over the workers of a ring."""
    flat = tf.concat([tf.reshape(value, [-1]) for value in values], 0)

    def around(array: Any) -> Any:
        return ring.sum(array, mean=mean)

    summed = tf.ensure_shape(tf.numpy_function(around, [flat], flat.dtype), flat.shape)
    parts = tf.split(summed, [tf.size(value) for value in values])
    return [
        tf.ensure_shape(tf.reshape(part, tf.shape(value)), value.shape)
        for part, value in zip(parts, values, strict=True)
    ]
