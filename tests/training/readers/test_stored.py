"""Readers of data sets in a store: the same examples in the same order, and each byte by one."""

import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store.client import Client, from_environment
from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket
from tests.training.readers import test_readers
from tests.training.readers.test_readers import READ, flat, numbers
from training import stored_paths
from training.folders import input_folder
from training.quiet_tensorflow import tf
from training.readers import picture_folders, tables, tfrecord_files
from training.readers.examples import Examples
from training.steps.distribution import Distribution
from training.steps.inputs import DatasetInputs
from training.streams import files, share
from training.tf_config import Cluster
from training.tfrecords import records


@pytest.fixture
def reading(environment: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Client:
    """This process's client of the store.

    It stands in no cache: datasets of a test before may read ahead still, and fill that with a
    client that was made when no store was configured.
    """
    one = from_environment()
    monkeypatch.setattr(stored_paths, "_client", lambda _process: one)
    return one


def put_folder(bucket: Bucket, folder: Path) -> str:
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.put(f"set/{file.relative_to(folder)}", file.read_bytes())
    return bucket.url("set")


@pytest.mark.parametrize("kind", READ)
def test_a_data_set_in_a_store_is_read_as_its_copy_would_be(
    kind: str,
    bucket: Bucket,
    reading: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.tfrecords.PIECE_BYTES", 20_000)
    write, read = READ[kind]
    write(tmp_path)
    there = read(tmp_path, label="kind", seed=3)
    with input_folder(put_folder(bucket, tmp_path)) as data:
        here = read(data, label="kind", seed=3)
        for ours, theirs in zip(here, there, strict=True):
            assert ours.count == theirs.count
            assert flat(numbers(ours, shuffle_seed=5)) == flat(numbers(theirs, shuffle_seed=5))
        shown = zip(here[1].dataset(50), there[1].dataset(50), strict=True)
        for ours, theirs in islice(shown, 5):
            tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)
        # No copy was made of anything.
        assert data._listing.copies is None  # type: ignore[union-attr]
        _shared(here[0])


def _shared(training: Examples) -> None:
    """Workers have equal parts of each pass, which are all of it together."""
    parts = [
        [numbers(training, 90, shuffle_seed=7, cluster=Cluster(3, index)) for _ in range(2)]
        for index in range(3)
    ]
    assert parts[0][0] == parts[0][1]
    assert {len(one) for (one, _) in parts} == {training.count // 90}
    assert {len(batch) for (one, _) in parts for batch in one} == {30}
    everything = [number for (one, _) in parts for number in flat(one)]
    assert len(set(everything)) == len(everything) == training.count // 90 * 90


def test_a_worker_reads_its_part_and_no_more(
    bucket: Bucket, reading: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tfrecords.PIECE_BYTES", 20_000)
    write_plain(tmp_path)
    with input_folder(put_folder(bucket, tmp_path)) as data:
        training, _ = tfrecord_files.read(data, validation=0)
        read: list[int] = []
        reading.requests = None
        get = reading.s3.get_object

        def counted(**request: Any) -> Any:
            # Datasets of a test before may read ahead still.
            if request["Bucket"] != bucket.name:
                return get(**request)
            first, last = map(int, request["Range"].removeprefix("bytes=").split("-"))
            read.append(last - first + 1)
            return get(**request)

        monkeypatch.setattr(reading.s3, "get_object", counted)
        batches = numbers_of(training, Cluster(4, 2))
    assert len(batches) == training.count // 4
    total = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert sum(read) < total / 4 + 3 * 20_100


def write_plain(folder: Path) -> None:
    for part in range(3):
        with tf.io.TFRecordWriter(str(folder / f"{part}.tfrecord")) as writer:
            for number in range(1000 * part, 1000 * part + 1000):
                values = tf.train.Int64List(value=[number])
                feature = {"number": tf.train.Feature(int64_list=values)}
                features = tf.train.Features(feature=feature)
                writer.write(tf.train.Example(features=features).SerializeToString())


def numbers_of(training: Examples, cluster: Cluster) -> list[int]:
    batches = training.dataset(40, shuffle_seed=1, cluster=cluster).as_numpy_iterator()
    return [number for batch in batches for number in batch["number"].tolist()]


def test_records_that_are_not_counted(bucket: Bucket, reading: Client, tmp_path: Path) -> None:
    READ["tfrecord"][0](tmp_path)
    with input_folder(put_folder(bucket, tmp_path)) as data:
        stored = files(data, "*.tfrecord")
        local = [record for file in files(tmp_path) for record in records(file)]
        assert [record for file in stored for record in records(file)] == local
        assert list(tfrecord_files.raw(stored).as_numpy_iterator()) == local
        ours = [share(stored, Cluster(2, index)) for index in range(2)]
        assert [[file.name for file in one] for one in ours] == [["a.tfrecord"], ["b.tfrecord"]]


def test_a_packed_file_is_unpacked_as_it_is_read(
    bucket: Bucket, reading: Client, tmp_path: Path
) -> None:
    """However large it is unpacked, a worker holds some records of it."""
    record = bytes(100_000)
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord"), "GZIP") as writer:
        for _ in range(2000):
            writer.write(record)
    (where,) = files(stored_paths.stored_folder(put_folder(bucket, tmp_path)))
    tracemalloc.start()
    try:
        assert sum(len(one) for one in records(where)) == 2000 * len(record)
        assert sum(1 for _ in tfrecord_files.raw([where])) == 2000
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()


def test_a_position_in_the_middle_is_kept(
    bucket: Bucket, reading: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tfrecords.PIECE_BYTES", 5000)
    write_plain(tmp_path)
    with input_folder(put_folder(bucket, tmp_path)) as data:
        training, _ = tfrecord_files.read(data, validation=0, buffer=50)

        def endless() -> Any:
            return iter(training.dataset(40, shuffle_seed=3, passes=None))

        def following(iterator: Any) -> list[list[int]]:
            return [next(iterator)["number"].numpy().tolist() for _ in range(80)]

        first = endless()
        for _ in range(90):
            next(first)
        place = tf.train.Checkpoint(iterator=first).write(str(tmp_path / "place"))
        expected = following(first)
        second = endless()
        tf.train.Checkpoint(iterator=second).read(place).assert_consumed()
        assert following(second) == expected


def test_a_position_of_the_other_data_mode_is_read_up_to(
    bucket: Bucket,
    reading: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A change of `dataMode` is another attempt of the same run.

    Symptom: TensorFlow's NotFoundError of a page. One worker goes on with the same examples;
    several share them in another way.
    """
    monkeypatch.setattr("training.tfrecords.PIECE_BYTES", 5000)
    write_plain(tmp_path)
    with input_folder(put_folder(bucket, tmp_path)) as data:
        for workers in (1, 2):
            for first, then in ((data, tmp_path), (tmp_path, data)):
                before, again = inputs_of_worker(first, workers), inputs_of_worker(then, workers)
                before.begin(0, b"")
                drawn(before)
                again.begin(30, before.position())
                assert "data set up to step 30: the position" in capsys.readouterr().out
                same = before
                if workers > 1:
                    same = inputs_of_worker(then, workers)
                    same.begin(0, b"")
                    drawn(same)
                assert drawn(again) == drawn(same)


def inputs_of_worker(folder: Any, workers: int) -> DatasetInputs:
    """The first worker's."""
    training, _ = tfrecord_files.read(folder, validation=0, buffer=50)
    distribution = Distribution()
    distribution.workers = workers
    cluster = Cluster(workers, 0)
    endless = training.dataset(40, shuffle_seed=3, passes=None, cluster=cluster)
    return DatasetInputs(endless, 40, distribution)


def drawn(inputs: DatasetInputs) -> list[list[int]]:
    batches = (next(inputs._iterator) for _ in range(30))
    return [batch["number"].numpy().tolist() for batch in batches]


def test_pictures_are_read_from_a_store(bucket: Bucket, reading: Client, tmp_path: Path) -> None:
    folder = test_readers.TestPictures.folder(tmp_path / "pictures")
    size = {"height": 8, "width": 8}
    there = picture_folders.read(folder, **size)
    with input_folder(put_folder(bucket, folder)) as data:
        here = picture_folders.read(data, **size)
        for ours, theirs in zip(here, there, strict=True):
            assert (ours.count, ours.classes) == (theirs.count, theirs.classes)
            pairs = zip(
                ours.dataset(4, shuffle_seed=1), theirs.dataset(4, shuffle_seed=1), strict=True
            )
            for one, other in pairs:
                tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_data_that_changes_while_it_is_read_is_told(
    bucket: Bucket, reading: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "AHEAD", 1)
    READ["csv"][0](tmp_path)
    with input_folder(put_folder(bucket, tmp_path)) as data:
        training, _ = READ["csv"][1](data, label="kind")
        batches = iter(training.dataset(10))
        next(batches)
        put_folder(bucket, tmp_path)
        bucket.put("set/b.csv", b"another,content\n1,2\n")
        with pytest.raises(tf.errors.OpError, match=r"b.csv' has changed since this training be"):
            for _ in batches:
                pass
