"""Synchronous data-parallel training: each replica takes its share of every batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from training.command_line import TrainingError, WorkerLost
from training.quiet_tensorflow import tf
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

    To be made before TensorFlow does anything: afterwards it can't set up the connections.
    """

    def __init__(self) -> None:
        self._cluster = Cluster.of_environment()
        self._strategy: Any = None
        if self._cluster.workers > 1:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        elif len(tf.config.list_logical_devices("GPU")) > 1:
            self._strategy = tf.distribute.MirroredStrategy()
        self.replicas: int = self._strategy.num_replicas_in_sync if self._strategy else 1

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
        return compute(0, 1) if self._strategy is None else self._mean_of_replicas(compute)

    def _mean_of_replicas(self, compute: "Callable[[tf.Tensor | int, int], _Values]") -> _Values:
        def replica() -> Any:
            context = tf.distribute.get_replica_context()
            values = compute(context.replica_id_in_sync_group, self.replicas)
            # Gradients of embeddings come as slices, and of variables without use as None.
            flat = [
                None if value is None else tf.convert_to_tensor(value)
                for value in tf.nest.flatten(values)
            ]
            given = [value for value in flat if value is not None]
            means = iter(_reduced(tf.distribute.ReduceOp.MEAN, given))
            return tf.nest.pack_sequence_as(
                values, [None if value is None else next(means) for value in flat]
            )

        found: _Values = tf.nest.map_structure(self._local, self._strategy.run(replica))
        return found

    def copy_from_chief(self, variables: "Sequence[tf.Variable]") -> None:
        """Give the variables of all workers the chief's values, wherever these came from."""
        if self._cluster.workers == 1:
            return

        def replica() -> Any:
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group, 0)
            # Not every type can be summed over a network.
            values = [
                tf.cast(variable, variable.dtype if variable.dtype.is_floating else tf.int64)
                for variable in variables
            ]
            return _reduced(
                tf.distribute.ReduceOp.SUM,
                [tf.where(first, value, tf.zeros_like(value)) for value in values],
            )

        @tf.function  # type: ignore[untyped-decorator]
        def copy() -> None:
            for variable, value in zip(variables, self._strategy.run(replica), strict=True):
                variable.assign(tf.cast(self._local(value), variable.dtype))

        copy()

    def await_all(self) -> None:
        """Return when all workers have called it: one that leaves early fails the others."""
        if self._cluster.workers > 1:
            here = tf.Variable(0.0, trainable=False)
            self.copy_from_chief([here])

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn TensorFlow's error for a lost connection into a WorkerLost."""
        try:
            yield
        except _LOST as error:
            if self._cluster.workers == 1:
                raise
            raise WorkerLost(
                f"Worker {self._cluster.index} has lost another one ({type(error).__name__}). "
                "The logs of the others tell why. Started again, all go on from the checkpoint."
            ) from error

    def _local(self, value: Any) -> Any:
        """Return the first of this worker's values, which are equal."""
        return None if value is None else self._strategy.experimental_local_results(value)[0]


def _reduced(operation: Any, values: "Sequence[tf.Tensor]") -> "list[tf.Tensor]":
    """Reduce over all replicas. One call takes values of one type only: it packs them together."""
    context = tf.distribute.get_replica_context()
    found: dict[int, tf.Tensor] = {}
    for dtype in dict.fromkeys(value.dtype for value in values):
        places = [place for place, value in enumerate(values) if value.dtype == dtype]
        found.update(
            zip(
                places,
                context.all_reduce(operation, [values[place] for place in places]),
                strict=True,
            )
        )
    return [found[place] for place in range(len(values))]
