"""Damaged files of a data set: what is wrong is said in words, with the file's name where it can be
known, and a file that promises exabytes takes no memory. Local files; those in a store are read by
the same functions, `test_stored.py`."""

import gzip
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.client import Client
from tests.training.conftest import Bucket
from tests.training.readers.test_stored import put_folder, reading  # noqa: F401
from training.command_line import TrainingError
from training.folders import input_folder
from training.quiet_tensorflow import tf
from training.readers import csv_files, parquet_files, picture_folders, tfrecord_files
from training.steps import faults
from training.streams import Folder

ROWS = 300


def example(**values: Any) -> bytes:
    kinds = {int: ("int64_list", tf.train.Int64List), float: ("float_list", tf.train.FloatList)}
    features = {}
    for name, value in values.items():
        kind, make = kinds[type(value)]
        features[name] = tf.train.Feature(**{kind: make(value=[value])})
    found: bytes = tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString()
    return found


def write_records(folder: Path, odd: bytes = b"") -> Path:
    file = folder / "a.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for number in range(ROWS):
            writer.write(example(x=number, y=number / 2) if number != 200 or not odd else odd)
    return file


def with_other_byte(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x40
    file.write_bytes(content)


def read_all(folder: Folder) -> None:
    with faults.in_words():
        for some in tfrecord_files.read(folder, label="y"):
            for _ in some.dataset(50):
                pass


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (b"\xff\xffnothing", "Could not parse example input"),
        (example(x=1), "Feature: y .* is required but could not be found"),
        (example(x=1.0, y=1.0), "Key: x, .*float but expected type: int64"),
    ],
    ids=["garbage", "a feature missing", "another type"],
)
def test_a_record_that_is_not_as_the_others_is_told(tmp_path: Path, odd: bytes, said: str) -> None:
    write_records(tmp_path, odd)
    with pytest.raises(TrainingError, match=f"A record of the data set is .*{said}"):
        read_all(tmp_path)


def last_content(file: Path) -> int:
    """Return the place of a byte in the content of the last record, which nobody looks at first."""
    return file.stat().st_size - 6


def test_a_changed_byte_of_a_record_is_told_of_local_files(tmp_path: Path) -> None:
    file = write_records(tmp_path)
    with_other_byte(file, last_content(file))
    with pytest.raises(TrainingError, match="TFRecord file .* is damaged: corrupted record at"):
        read_all(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_changed_byte_of_a_record_is_told_of_a_store(
    bucket: Bucket,
    reading: Client,  # noqa: F811
    tmp_path: Path,
    packed: bool,
) -> None:
    """Symptom: with `dataMode stream` it became an example, as nobody compared checksums."""
    file = write_records(tmp_path)
    with_other_byte(file, last_content(file))
    if packed:
        file.write_bytes(gzip.compress(file.read_bytes()))
    with (
        input_folder(put_folder(bucket, tmp_path)) as data,
        pytest.raises(TrainingError, match="'a.tfrecord' in .*record .* its checksum says"),
    ):
        read_all(data)


def test_a_record_that_promises_an_exabyte_is_refused_by_the_checksum_of_its_length(
    tmp_path: Path,
) -> None:
    header = struct.pack("<QI", 2**60, 0)
    (tmp_path / "a.tfrecord").write_bytes(gzip.compress(header + bytes(1000)))
    with pytest.raises(TrainingError, match="file: record 1 is not what its checksum says"):
        read_all(tmp_path)


def endless(file: Path) -> None:
    file.write_bytes(b"x,y\n" + b"1" * 3000)


def packed_and_endless(file: Path) -> None:
    file.with_suffix(".csv.gz").write_bytes(gzip.compress(bytes(3000)))


@pytest.mark.parametrize("write", [endless, packed_and_endless])
def test_a_line_without_an_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    """Symptom: of a file of 900 MB in one line, a pod took 4 GB and was killed."""
    monkeypatch.setattr(csv_files, "_LONGEST_LINE", 2**10)
    write(tmp_path / "a.csv")
    with pytest.raises(TrainingError, match="'a.csv.*' in .* has a line of more than 0 MiB"):
        csv_files.read(tmp_path)


@pytest.mark.parametrize("texts", [False, True])
def test_a_damaged_row_group_is_told(tmp_path: Path, texts: bool) -> None:
    import pyarrow
    from pyarrow import parquet

    column = [f"{n * n}" if texts else float(n) for n in range(5000)]
    file = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"x": column}), file, row_group_size=1000)
    content = bytearray(file.read_bytes())
    # The same in each run: others may be read as numbers.
    content[2000:2200] = random.Random(1).randbytes(200)
    file.write_bytes(content)
    with (
        pytest.raises(TrainingError, match="'a.parquet' in .* is not a complete Parquet file"),
        faults.in_words(),
    ):
        training, _ = parquet_files.read(tmp_path)
        for _ in training.dataset(100):
            pass


def damaged_pictures() -> dict[str, bytes]:
    black = tf.zeros([64, 64, 3], tf.uint8)
    png, jpeg = (bytes(one(black).numpy()) for one in (tf.io.encode_png, tf.io.encode_jpeg))
    other = bytearray(png)
    other[len(png) // 2] ^= 0xFF
    return {"cut.png": png[:40], "other.png": bytes(other), "cut.jpg": jpeg[:300]}


@pytest.mark.parametrize("name", ["cut.png", "other.png", "cut.jpg"])
def test_a_damaged_picture_is_told_with_its_path(tmp_path: Path, name: str) -> None:
    """Symptom: one of 100,000 pictures was cut off, and a traceback did not say which."""
    whole = bytes(tf.io.encode_png(tf.zeros([8, 8, 3], tf.uint8)).numpy())
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            (tmp_path / kind / f"{number}.png").write_bytes(whole)
    (tmp_path / "b" / name).write_bytes(damaged_pictures()[name])
    training, _ = picture_folders.read(tmp_path, height=4, width=4, validation=0)
    with (
        pytest.raises(TrainingError, match=rf"damaged or incomplete \(.*/b/{name}\)"),
        faults.in_words(),
    ):
        for _ in training.dataset(2):
            pass
