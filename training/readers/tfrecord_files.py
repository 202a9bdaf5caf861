"""TFRecord files of `tf.train.Example`, whose features are found in the first records or given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from training.command_line import TrainingError
from training.readers.examples import (
    Examples,
    Part,
    Shuffle,
    called,
    is_stored,
    parts_of_blocks,
    threads,
)
from training.readers.splits import check_share, is_held_out
from training.readers.tables import files_of
from training.streams import AHEAD, Folder, StoredPath, opened, read_beginning
from training.tfrecords import FOOTER, HEADER, Block, blocks, not_complete, records, split

if TYPE_CHECKING:
    from training.quiet_tensorflow import tf

_LOOKED_AT = 100
"""Records that the features are found in."""
_GZIP = b"\x1f\x8b"
_BATCH_BYTES = 2**20


@dataclass(frozen=True)
class _File:
    path: Folder
    compression: str
    """As TensorFlow names it: `GZIP`, or nothing."""
    records: int
    blocks: Sequence[Block] | None = None
    """Of a file in a store that is not packed: it is read block by block."""


@dataclass(frozen=True)
class _Placed:
    """A block of a data set."""

    file: Folder
    block: Block
    number: int
    """Of its first record, in the data set."""


def _placed(files: Sequence[_File]) -> list[_Placed]:
    found, number = [], 0
    for file in files:
        for block in file.blocks or ():
            found.append(_Placed(file.path, block, number))
            number += block.records
    return found


class Records(Examples):
    """Examples as `tf.io.parse_example` makes them: feature name -> tensor [n, …].

    Args:
        features: name -> `tf.io.FixedLenFeature` and its like.
        label: which of them is the label; texts are left as they are.
    """

    def __init__(
        self,
        files: Sequence[_File],
        features: Mapping[str, Any],
        label: str | None,
        what: str,
        *,
        share: float,
        seed: int,
        held_out: bool,
        buffer: int,
    ) -> None:
        import numpy as np

        self._split = (share, seed, held_out)
        self._files = files
        total = sum(file.records for file in files)
        held = int(is_held_out(np.arange(total, dtype=np.int64), share, seed).sum())
        super().__init__(held if held_out else total - held, what, None, buffer)
        self.features = features
        """Name -> how it is parsed, the label's too."""
        self._label = label
        # A packed file can't be begun in its middle.
        self.reads_parts = all(file.blocks is not None for file in files)
        self._blocks = _placed(files) if self.reads_parts else []

    def _references(self, shuffled: Shuffle, part: Part | None) -> "tf.data.Dataset":
        from training.quiet_tensorflow import tf

        if self.reads_parts:
            return self._parts(shuffled, part)
        share, seed, held_out = self._split
        starts = [sum(file.records for file in self._files[:n]) for n in range(len(self._files))]
        stored = [file.path for file in self._files if is_stored(file.path)]
        files = tf.data.Dataset.from_tensor_slices(
            (
                tf.range(len(self._files), dtype=tf.int64),
                [str(file.path) for file in self._files],
                [file.compression for file in self._files],
                tf.constant(starts, tf.int64),
            )
        )

        def records(number: Any, path: Any, compression: Any, start: Any) -> "tf.data.Dataset":
            if stored:
                some = _generated(stored, number)
            else:
                some = tf.data.TFRecordDataset(path, compression)
            if not share:
                return some
            numbered = some.enumerate(start)
            chosen = numbered.filter(lambda number, _: is_held_out(number, share, seed) == held_out)
            return chosen.map(lambda _, record: record)

        if held_out and not share:
            files = files.take(0)
        return shuffled(files, len(self._files)).flat_map(records)

    def _parts(self, shuffled: Shuffle, part: Part | None) -> "tf.data.Dataset":
        """Return the records of files in a store, in the order that those of folders have."""
        from training.quiet_tensorflow import tf

        counts = [len(self._chosen(place)) for place in self._blocks]
        ends = accumulate(len(file.blocks or ()) for file in self._files)
        firsts = tf.constant([0, *ends], tf.int64)

        def read(*place: "tf.Tensor") -> "tf.Tensor":
            found = tf.numpy_function(self._records, place, tf.string)
            return tf.ensure_shape(found, [None])

        files = shuffled(tf.data.Dataset.range(len(self._files)), len(self._files))
        numbers = files.flat_map(lambda file: tf.data.Dataset.range(firsts[file], firsts[file + 1]))
        places = parts_of_blocks(numbers, counts, part)
        return places.map(read, AHEAD, deterministic=True).unbatch()

    def _chosen(self, place: "_Placed") -> Any:
        """Return which records of a block are in this set, by their place in it: int64."""
        import numpy as np

        share, seed, held_out = self._split
        numbers = np.arange(place.number, place.number + place.block.records, dtype=np.int64)
        return np.flatnonzero(is_held_out(numbers, share, seed) == held_out)

    def _records(self, number: int, skip: int, take: int) -> Any:
        """Return some records of a block that are in this set: objects [n]."""
        import numpy as np

        place = self._blocks[int(number)]
        assert isinstance(place.file, StoredPath)
        # Without a name for its bytes, which would keep them beside the records.
        some = split(
            place.file.read_range(place.block.first, place.block.size), place.file, self._what
        )
        chosen = [some[one] for one in self._chosen(place)[skip : skip + take]]
        return np.array(chosen, dtype=object)

    def _batches(self, references: "tf.data.Dataset", size: int) -> "tf.data.Dataset":
        from training.quiet_tensorflow import tf

        def parsed(records: "tf.Tensor") -> Any:
            features = tf.io.parse_example(records, dict(self.features))
            if self._label is None:
                return features
            return features, features.pop(self._label)

        return references.batch(size).map(parsed, threads(), deterministic=True)


def read(
    folder: Folder,
    pattern: str = "*.tfrecord*",
    *,
    label: str | None = None,
    features: Mapping[str, Any] | None = None,
    validation: float = 0.2,
    seed: int = 0,
    buffer: int = 10_000,
    url: str | None = None,
) -> tuple[Records, Records]:
    """Return the records to train with, and those that are held out.

    Args:
        pattern: of the files in `folder`, as a glob; `**/` for folders in it. gzip files are known
            by their first bytes.
        label: the feature to predict.
        features: name -> `tf.io.FixedLenFeature`, `tf.io.RaggedFeature` and so on; default: as the
            first 100 records have them. One value in each is [n], several as many in each
            [n, values]; else they are filled up to the longest, with 0 or empty texts.
        validation: the share of the records that is held out, from 0 to below 1.
        seed: which ones.
        buffer: how many records are shuffled among each other; files are shuffled before that.
        url: how the user called the folder, for errors.

    Raises:
        TrainingError: there are no files or records, one is cut off, or the label is not there.
    """
    check_share(validation)
    what = called(folder, url)
    files = [_counted(file, what) for file in files_of(folder, pattern, what)]
    if not sum(file.records for file in files):
        raise TrainingError(f"The files {pattern!r} in {what} have no records. Give them some.")
    found = dict(features) if features is not None else _found_features(files, what)
    if label is not None and label not in found:
        raise TrainingError(
            f"The records in {what} have no feature {label!r}, but {', '.join(sorted(found))}. "
            "Correct the label's name."
        )
    training, held_out = (
        Records(
            files,
            found,
            label,
            what,
            share=validation,
            seed=seed,
            held_out=held,
            buffer=buffer,
        )
        for held in (False, True)
    )
    return training, held_out


def _counted(file: Folder, what: str) -> _File:
    """Count the records, by their lengths. Of a file of this machine no more than these is read."""
    packed = read_beginning(file)[:2] == _GZIP
    if is_stored(file) and not packed:
        found = blocks(file, what)
        return _File(file, "", sum(block.records for block in found), found)
    count, end = 0, 0
    if packed:
        return _File(file, "GZIP", sum(1 for _ in records(file, what)))
    size = file.stat().st_size
    try:
        with opened(file) as source:
            while header := source.read(HEADER.size):
                length = HEADER.unpack(header)[0] if len(header) == HEADER.size else 0
                end += HEADER.size + length + FOOTER
                if len(header) < HEADER.size or end > size:
                    raise EOFError(f"record {count + 1} is not complete")
                source.seek(end)
                count += 1
    except (OSError, EOFError, OverflowError) as error:
        raise not_complete(file, what, error) from error
    return _File(file, "", count)


def _found_features(files: Sequence[_File], what: str) -> dict[str, Any]:
    """Return name -> feature, as the first records have them."""
    from training.quiet_tensorflow import tf

    types = {"int64_list": tf.int64, "float_list": tf.float32, "bytes_list": tf.string}
    gaps: dict[Any, Any] = {tf.int64: 0, tf.float32: float("nan"), tf.string: ""}
    kinds: dict[str, set[str]] = {}
    lengths: dict[str, list[int]] = {}
    looked_at = 0
    for record in _first_records(files):
        looked_at += 1
        try:
            example = tf.train.Example.FromString(record)
        except Exception as error:  # protobuf's own, which it doesn't export everywhere
            raise TrainingError(
                f"The records in {what} are not of tf.train.Example. Give a Dataset of your own "
                "to the trainer, which reads them."
            ) from error
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            if kind is not None:
                kinds.setdefault(name, set()).add(kind)
                lengths.setdefault(name, []).append(len(getattr(feature, kind).value))
    found: dict[str, Any] = {}
    for name in sorted(kinds):
        if len(kinds[name]) > 1:
            raise TrainingError(
                f"The feature {name!r} in {what} has values of several types. Give `features`."
            )
        dtype = types[next(iter(kinds[name]))]
        always = len(lengths[name]) == looked_at and min(lengths[name]) > 0
        if set(lengths[name]) <= {0, 1}:
            found[name] = tf.io.FixedLenFeature([], dtype, None if always else gaps[dtype])
        elif always and len(set(lengths[name])) == 1:
            found[name] = tf.io.FixedLenFeature([lengths[name][0]], dtype)
        else:
            found[name] = tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)
    return found


def _first_records(files: Sequence[_File]) -> list[bytes]:
    found: list[bytes] = []
    for file in files:
        found += islice(records(file.path), _LOOKED_AT - len(found))
    return found


def raw(some: Sequence[Folder]) -> "tf.data.Dataset":
    """Return the records of files, string [], one file after the other. Nothing is counted before.

    For records that `read` can't take, or that are too many to be counted first. Of several workers
    each gives the files of its own: `training.streams.share`.
    """
    from training.quiet_tensorflow import tf

    numbers = tf.data.Dataset.range(len(some))
    return numbers.flat_map(lambda number: _generated(some, number))


def _generated(some: Sequence[Folder], number: "tf.Tensor") -> "tf.data.Dataset":
    """Return the records of one of some files, which Python reads."""
    from training.quiet_tensorflow import tf

    def batches(number: int) -> Iterator[list[bytes]]:
        batch, size = [], 0
        for record in records(some[int(number)]):
            batch.append(record)
            size += len(record)
            if size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch

    spec = tf.TensorSpec([None], tf.string)
    generated = tf.data.Dataset.from_generator(batches, args=(number,), output_signature=spec)
    return generated.prefetch(1).unbatch()
