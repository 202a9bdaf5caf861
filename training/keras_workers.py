"""Keras' `fit` by several workers: equal shares of each batch, equal weights, one writer."""

import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from training.command_line import TrainingError, WorkerLost
from training.quiet_tensorflow import tf
from training.steps.distribution import Distribution


class Workers:
    """The workers that TF_CONFIG names; one without it. Made by `joined`."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution
        self.count = distribution.workers
        self.index = distribution.index
        """Of this one, from 0."""
        self.is_chief = distribution.is_chief
        """Whether this worker is the one whose model is published: it alone has to export one."""

    def fit(
        self,
        model: Any,
        dataset: "tf.data.Dataset",
        *,
        callbacks: Sequence[Any] = (),
        verbose: int | str = "auto",
        **more: Any,
    ) -> Any:
        """Call `model.fit` on this worker's share of every batch; return its history.

        All workers apply the same mean of their gradients to equal weights, so the result is that
        of one worker with the whole batches. Rows of a batch that can't be shared equally are left
        out; of fewer rows than workers, several take the same. What `fit` reports, and callbacks
        see at the end of an epoch, are means over the workers: all decide alike. The first worker
        alone prints.

        Args:
            model: compiled, with one optimizer.
            dataset: batches for all workers together; the same on each of them.
            callbacks: on every worker; a `JobCallback` knows which one writes.
            more: what else `fit` takes.

        Raises:
            TrainingError: `dataset` is something else.
        """
        if not isinstance(dataset, tf.data.Dataset):
            raise TrainingError(
                f"fit was given {type(dataset).__name__}, which workers can't share. Give it a "
                "dataset: tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(64)."
            )
        if self.count == 1:
            return model.fit(dataset, callbacks=list(callbacks), verbose=verbose, **more)
        model.optimizer.build(model.trainable_variables)
        self.copy_from_chief([*model.variables, *model.optimizer.variables])
        # XLA can't compile what talks to other workers.
        model.jit_compile = False
        with self._shared_gradients(model.optimizer):
            return model.fit(
                self._share_of(dataset),
                callbacks=[_SharedLogs(self), *callbacks],
                verbose=verbose if self.is_chief else 0,
                **more,
            )

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the means over all workers, of name -> number."""
        if self.count == 1:
            return dict(values)
        mine = np.array(list(values.values()), np.float64)
        texts = [b""] * self.count
        texts[self.index] = mine.tobytes()
        all_of_them = [np.frombuffer(text) for text in self._distribution.exchange(texts)]
        return dict(zip(values, np.mean(all_of_them, axis=0).tolist(), strict=True))

    def copy_from_chief(self, variables: Sequence[Any]) -> None:
        """Give variables, of TensorFlow or Keras, the first worker's values."""
        self._distribution.copy_from_chief(variables)

    def _share_of(self, dataset: "tf.data.Dataset") -> "tf.data.Dataset":
        def rows(batch: Any) -> "tf.Tensor":
            return tf.shape(tf.nest.flatten(batch)[0])[0]

        def share(*batch: Any) -> Any:
            size = tf.maximum(1, rows(batch) // self.count)
            first = tf.minimum(self.index * size, rows(batch) - size)
            found = tf.nest.map_structure(lambda values: values[first : first + size], batch)
            return found if len(found) > 1 else found[0]

        # Not filtered: with a dataset of unknown length, Keras 3.15 does a step too many in each
        # epoch.
        return dataset.map(share, tf.data.AUTOTUNE, deterministic=True).prefetch(2)

    @contextmanager
    def _shared_gradients(self, optimizer: Any) -> Iterator[None]:
        apply = optimizer.apply

        def shared(gradients: Sequence[Any], variables: Any = None) -> Any:
            given = [one for one in gradients if one is not None]
            # Tensors of the replica's own: others have no place for the reduction.
            means = iter(
                self._distribution.mean(
                    lambda *_: [tf.identity(tf.convert_to_tensor(one)) for one in given]
                )
            )
            return apply([None if one is None else next(means) for one in gradients], variables)

        optimizer.apply = shared
        try:
            yield
        finally:
            optimizer.apply = apply


class _SharedLogs(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """The first of the callbacks: those after it see means over the workers."""

    def __init__(self, workers: Workers) -> None:
        super().__init__()
        self._workers = workers

    def on_epoch_end(self, epoch: int, logs: MutableMapping[str, float] | None = None) -> None:
        if logs:
            logs.update(self._workers.mean(logs))


@contextmanager
def joined(seed: int = 0) -> Iterator[Workers]:
    """Join the other workers: `with joined() as workers:`, around all that uses TensorFlow.

    At its end, it waits for the others: one that leaves while the first exports would end that.

    Args:
        seed: of first weights and shuffling, which have to be equal on all workers.

    Raises:
        SystemExit: another worker is lost; the status tells the agent.
    """
    distribution = Distribution()
    tf.keras.utils.set_random_seed(seed)
    try:
        with distribution.explained():
            yield Workers(distribution)
            distribution.await_all()
    except WorkerLost as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_status) from error
