"""What every reader returns: examples in files, counted, that become a `tf.data.Dataset`."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.command_line import TrainingError
from training.run_settings import RunSettings
from training.streams import AHEAD, Folder, StoredPath
from training.tf_config import Cluster

if TYPE_CHECKING:
    from training.quiet_tensorflow import tf

Shuffle = Callable[["tf.data.Dataset", int], "tf.data.Dataset"]
"""A dataset, and how many elements are shuffled among each other -> it in a random order."""

_ALL_AT_ONCE = 1000
"""Rows in a batch of `arrays`."""


def called(folder: Folder, url: str | None) -> str:
    """Return how errors call a data set: as the user did, if that is known."""
    return f"--data_url={url!r}" if url else f"{str(folder)!r}"


def is_stored(folder: Folder) -> bool:
    """Say whether a data set is read from a store: ahead, and by no more workers than it takes."""
    return isinstance(folder, StoredPath)


def threads() -> int:
    """Return how many threads make examples: one for each processor, and those who wait for a store
    meanwhile."""
    return (os.cpu_count() or 1) + AHEAD


@dataclass(frozen=True)
class Part:
    """The examples from `first` to below `last` of a pass, in its order of the blocks."""

    first: int
    last: int


def parts_of_blocks(
    blocks: "tf.data.Dataset", counts: Sequence[int], part: Part | None
) -> "tf.data.Dataset":
    """Return (block, skip, take): which of a block's examples are read. Others are left out.

    Args:
        blocks: their numbers, in the order of a pass.
        counts: how many examples of this set each block has, by its number.
        part: None: all examples.
    """
    from training.quiet_tensorflow import tf

    known = tf.constant(counts, tf.int64)
    zero = tf.constant(0, tf.int64)
    if part is None:
        return blocks.map(lambda block: (block, zero, known[block]))

    def next_one(before: "tf.Tensor", block: "tf.Tensor") -> Any:
        count = known[block]
        skip = tf.clip_by_value(part.first - before, 0, count)
        end = tf.clip_by_value(part.last - before, 0, count)
        return before + count, (block, skip, end - skip)

    return blocks.scan(zero, next_one).filter(lambda block, skip, take: take > 0)


class Examples(ABC):
    """Some examples of a data set: those to train with, or those that are held out.

    Args:
        count: how many there are.
        what: how errors call the data set (`called`).
        classes: names of the classes, which labels number from 0; None: labels are numbers.
        buffer: how many examples are shuffled among each other.
    """

    reads_parts = False
    """Whether `_references` gives a worker its part of a pass, so that it reads no other. Else all
    are read, and the worker's taken: files of this machine cost little."""

    def __init__(self, count: int, what: str, classes: list[str] | None, buffer: int) -> None:
        self.count = count
        self.classes = classes
        self._what = what
        self._buffer = buffer

    def dataset(
        self,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        passes: int | None = 1,
        cluster: Cluster | None = None,
    ) -> "tf.data.Dataset":
        """Return batches of (features, label), or of features alone.

        Of an endless dataset, and of a worker's share, each pass leaves out the last examples that
        are less than a batch.

        Args:
            shuffle_seed: makes the order, another one in each pass; None: that of the files.
            passes: over the examples, before the dataset ends; None: endless.
            cluster: of several workers, this one gets its share of each batch, and decodes no more
                than that. Of blocks in a store it reads no more, either. Every worker has to give
                the same seed.

        Raises:
            TrainingError: workers can't share a batch, or there are too few examples for one.
        """
        from training.quiet_tensorflow import tf, without_autograph, without_autotune

        workers = 1 if cluster is None else cluster.workers
        if batch_size % workers:
            raise TrainingError(
                f"A batch of {batch_size} can't be shared equally by {workers} workers. "
                f"Give a --batch_size that is a multiple of {workers}."
            )
        whole_only = passes is None or workers > 1
        if whole_only and self.count < batch_size:
            raise TrainingError(
                f"{self._what} has {self.count} examples here, less than a batch of {batch_size}. "
                "Give a lower --batch_size."
            )
        count = self.count // batch_size * batch_size if whole_only else self.count

        def one_pass(seed: "tf.Tensor | int | None", again: bool) -> "tf.data.Dataset":
            def shuffled(dataset: "tf.data.Dataset", buffer: int) -> "tf.data.Dataset":
                if seed is None or not self.count:
                    return dataset
                return dataset.shuffle(max(1, buffer), seed=seed, reshuffle_each_iteration=again)

            part = None
            if cluster is not None and workers > 1 and self.reads_parts:
                size = count // workers
                part = Part(cluster.index * size, (cluster.index + 1) * size)
            references = self._references(shuffled, part)
            references = shuffled(references, min(self._buffer, self.count))
            if whole_only and part is None:
                references = references.take(count)
            if cluster is not None and workers > 1 and part is None:
                # All have the same order: these are the examples of one worker's batch.
                references = references.shard(workers, cluster.index)
            return self._batches(references, batch_size // workers)

        size = -(-count // batch_size)
        if passes == 1:
            batches = one_pass(shuffle_seed, True)
        else:
            # Not by `repeat`: an iterator that is restored by a checkpoint would not know the next
            # pass's order, as TensorFlow forgets the seeds of an inner shuffle that has ended.

            @without_autograph
            def numbered_pass(number: "tf.Tensor") -> "tf.data.Dataset":
                # Of this graph: a seed of 0 and a tensor would be compared with numbers.
                tf.random.set_seed(1)
                seed = None if shuffle_seed is None else number * 2**20 + shuffle_seed
                return one_pass(seed, False)

            numbers = tf.data.Dataset.range(2**62 if passes is None else passes)
            batches = numbers.flat_map(numbered_pass)
            size = tf.data.INFINITE_CARDINALITY if passes is None else size * passes
        options = tf.data.Options()
        # Not those that the steps run in: they are as many as there are processors, and reading
        # from a store, where they wait, would leave none to decode.
        options.threading.private_threadpool_size = threads()
        # Python code reads some of the files. It keeps no state that a checkpoint would need.
        options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
        batches = batches.apply(tf.data.experimental.assert_cardinality(size))
        return without_autotune(batches.prefetch(2).with_options(options))

    def batches(self, settings: RunSettings) -> "tf.data.Dataset":
        """Return what an `input_fn` of `training.trainer.run` returns.

        It is endless, shuffled by the run's seed, and this worker's share of each batch.
        """
        return self.dataset(
            settings.batch_size,
            shuffle_seed=settings.seed,
            passes=None,
            cluster=Cluster.of_environment(),
        )

    def arrays(self) -> Any:
        """Return all examples as numpy arrays, in the structure of one batch of `dataset`."""
        import numpy as np

        from training.quiet_tensorflow import tf

        if not self.count:
            raise TrainingError(f"{self._what} has no examples here. Give `validation` above 0.")
        batches = list(self.dataset(_ALL_AT_ONCE).as_numpy_iterator())
        return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)

    @abstractmethod
    def _references(self, shuffled: Shuffle, part: Part | None) -> "tf.data.Dataset":
        """Return the examples as small elements, or where they lie.

        Args:
            shuffled: a dataset of files or blocks -> the same in an order for this pass.
            part: which ones, if `reads_parts`; None: all.
        """

    @abstractmethod
    def _batches(self, references: "tf.data.Dataset", size: int) -> "tf.data.Dataset":
        """Return batches of what the references stand for."""
