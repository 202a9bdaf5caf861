"""Readers of data sets in files: what they give, what they hold out, what they refuse."""

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.command_line import TrainingError
from training.quiet_tensorflow import tf
from training.readers import csv_files, parquet_files, picture_folders, tfrecord_files
from training.readers.examples import Examples
from training.readers.splits import held_out_names, is_held_out
from training.streams import AHEAD
from training.tf_config import Cluster

ROWS = 10_000


def write_csv(folder: Path, rows: int = ROWS) -> None:
    """Two files; a text with commas and line ends, and gaps."""
    folder.mkdir(exist_ok=True)
    for part, numbers in (("a.csv", range(rows // 3)), ("b.csv", range(rows // 3, rows))):
        with (folder / part).open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["number", "size", "zip", "note", "kind"])
            for number in numbers:
                size = "" if number % 10 == 0 else f" {number / 4}"
                note = 'says "a,\nb"' if number % 7 == 0 else ""
                table.writerow([number, size, f"{number % 5:03}", note, ("cat", "dog")[number % 2]])
            file.write("\n\n")


def write_tfrecords(folder: Path, rows: int = ROWS) -> None:
    folder.mkdir(exist_ok=True)
    feature, train = tf.train.Feature, tf.train
    for part, numbers in (("a", range(rows // 3)), ("b", range(rows // 3, rows))):
        options = "GZIP" if part == "b" else ""
        with tf.io.TFRecordWriter(str(folder / f"{part}.tfrecord"), options) as writer:
            for number in numbers:
                features = {
                    "number": feature(int64_list=train.Int64List(value=[number])),
                    "point": feature(float_list=train.FloatList(value=[number, 0.5])),
                    "words": feature(bytes_list=train.BytesList(value=[b"x"] * (number % 3))),
                    "kind": feature(int64_list=train.Int64List(value=[number % 2])),
                }
                if number % 10:
                    features["size"] = feature(float_list=train.FloatList(value=[number / 4]))
                writer.write(
                    train.Example(features=train.Features(feature=features)).SerializeToString()
                )


def write_parquet(folder: Path, rows: int = ROWS) -> None:
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(exist_ok=True)
    for part, numbers in (("a", range(rows // 3)), ("b", range(rows // 3, rows))):
        numbers = list(numbers)
        table = pyarrow.table(
            {
                "number": pyarrow.array(numbers, pyarrow.int32()),
                "size": pyarrow.array([n / 4 if n % 10 else None for n in numbers]),
                "count": pyarrow.array([n if n % 3 else None for n in numbers], pyarrow.int64()),
                "zip": pyarrow.array([f"{n % 5:03}" for n in numbers]).dictionary_encode(),
                "vector": pyarrow.FixedSizeListArray.from_arrays(
                    pyarrow.array(np.arange(2.0 * len(numbers))), 2
                ),
                "day": pyarrow.array([n * 86400 for n in numbers], pyarrow.timestamp("s")),
                "kind": [("cat", "dog")[n % 2] for n in numbers],
            }
        )
        parquet.write_table(table, folder / f"{part}.parquet", row_group_size=1000)


Sets = tuple[Examples, Examples]
READ: dict[str, tuple[Callable[..., None], Callable[..., Sets]]] = {
    "csv": (write_csv, csv_files.read),
    "tfrecord": (write_tfrecords, tfrecord_files.read),
    "parquet": (write_parquet, parquet_files.read),
}


@pytest.fixture(params=READ)
def sets(request: pytest.FixtureRequest, tmp_path: Path) -> Sets:
    """The same 10,000 rows in a kind of files."""
    write, read = READ[request.param]
    write(tmp_path)
    return read(tmp_path, label="kind", validation=0.2, seed=3)


def numbers(examples: Examples, batch_size: int = 100, **options: Any) -> list[list[int]]:
    """The column that tells the rows apart, batch by batch."""
    return [
        features["number"].tolist()
        for features, _ in examples.dataset(batch_size, **options).as_numpy_iterator()
    ]


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def test_every_row_is_in_one_of_the_sets_and_the_same_ones_always(sets: Sets) -> None:
    training, held_out = sets
    here, there = (flat(numbers(some)) for some in sets)
    assert sorted(here + there) == list(range(ROWS))
    assert (len(here), len(there)) == (training.count, held_out.count)
    assert held_out.count == pytest.approx(0.2 * ROWS, abs=5)
    # A label that comes in turns must not be held out in turns.
    assert Counter(number % 2 for number in there)[0] == pytest.approx(0.1 * ROWS, abs=5)
    assert here == sorted(here)


def test_rows_of_table_and_label_belong_together(sets: Sets) -> None:
    features, kinds = sets[0].arrays()
    assert (kinds == features["number"] % 2).all()
    sizes = features["size"]
    assert np.array_equal(np.isnan(sizes), features["number"] % 10 == 0)
    assert np.allclose(sizes[~np.isnan(sizes)] * 4, features["number"][~np.isnan(sizes)])


def test_each_pass_has_an_order_of_its_own_that_the_seed_makes(sets: Sets) -> None:
    training = sets[0]
    found = []
    for _ in range(2):
        dataset = training.dataset(100, shuffle_seed=5)
        passes = [
            [features["number"].tolist() for features, _ in dataset.as_numpy_iterator()]
            for _ in range(2)
        ]
        found.append(passes)
        first, second = (flat(one) for one in passes)
        assert first != second and sorted(first) == sorted(second)
    assert found[0] == found[1]
    # Blocks of the files, too, so that rows that lie together are far apart.
    assert np.std(found[0][0][0]) > 1000


def test_workers_share_each_batch_of_one(sets: Sets) -> None:
    training = sets[0]
    alone = numbers(training, 96, shuffle_seed=5)
    shares = [numbers(training, 96, shuffle_seed=5, cluster=Cluster(2, n)) for n in range(2)]
    assert len(shares[0]) == len(shares[1]) == training.count // 96
    for whole, first, second in zip(alone, *shares, strict=False):
        assert len(first) == len(second) == 48
        assert sorted(whole) == sorted(first + second)
    with pytest.raises(TrainingError, match="batch of 95 can't be shared equally by 2 workers"):
        training.dataset(95, cluster=Cluster(2, 0))


@pytest.mark.parametrize("drawn", [0, 30, 79, 97, 240])
def test_a_position_in_the_middle_can_be_saved_and_restored(
    sets: Sets, tmp_path: Path, drawn: int
) -> None:
    """By a process that begins anew: the order of the passes that follow is the same."""

    def endless() -> Any:
        return iter(sets[0].dataset(100, shuffle_seed=5, passes=None))

    def next_batches() -> list[list[int]]:
        return [next(iterator)[0]["number"].numpy().tolist() for _ in range(200)]

    iterator = endless()
    for _ in range(drawn):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "position"))
    expected = next_batches()
    iterator = endless()
    tf.train.Checkpoint(iterator=iterator).read(path).assert_consumed()
    assert next_batches() == expected


def test_passes_differ_and_only_the_endless_leave_out_what_is_no_batch(sets: Sets) -> None:
    training = sets[0]
    two = numbers(training, 300, shuffle_seed=5, passes=2)
    first, second = two[: len(two) // 2], two[len(two) // 2 :]
    assert sorted(flat(first)) == sorted(flat(second)) and first != second
    assert len(flat(first)) == training.count
    endless = training.dataset(300, passes=None).take(training.count // 300 + 1)
    assert {len(labels) for _, labels in endless.as_numpy_iterator()} == {300}
    assert training.dataset(300).cardinality() == -(-training.count // 300)
    with pytest.raises(TrainingError, match="examples here, less than a batch of 20000"):
        training.dataset(20000, passes=None)


def test_the_end_of_a_pass_waits_for_no_autotuning(sets: Sets) -> None:
    """TensorFlow's thread for it sleeps for as long as the pass has taken, and its end waits."""
    options = sets[0].dataset(100).map(lambda features, label: label).options()
    assert options.autotune.enabled is False
    # Who reads from a store waits in some of the threads.
    assert options.threading.private_threadpool_size > AHEAD


def test_numbers_that_are_held_out_lie_evenly() -> None:
    for seed in range(3):
        held_out = is_held_out(np.arange(100_000), 0.1, seed)
        parts = held_out.reshape(100, 1000).sum(axis=1)
        assert parts.min() >= 97 and parts.max() <= 103
    assert not is_held_out(np.arange(1000), 0.0, 0).any()
    same = is_held_out(tf.range(1000, dtype=tf.int64), 0.3, 1)
    assert np.array_equal(same.numpy(), is_held_out(np.arange(1000), 0.3, 1))


def test_names_that_are_held_out_stay_when_others_come() -> None:
    names = [f"{number}.jpg" for number in range(100)]
    before = held_out_names(names, 0.2, 1)
    after = held_out_names([*names, "new.jpg"], 0.2, 1)
    assert len(before) == 20 and len(before - after) <= 1
    assert held_out_names(["a", "b"], 0.01, 1) != set()
    assert held_out_names(["a"], 0.5, 1) == held_out_names(names, 0, 1) == set()


class TestCsv:
    def test_kinds_gaps_and_values_are_found(self, tmp_path: Path) -> None:
        write_csv(tmp_path, 100)
        training, _ = csv_files.read(tmp_path, label="kind", validation=0)
        assert training.classes == ["cat", "dog"]
        found = {
            name: (one.kind, one.missing, one.values) for name, one in training.columns.items()
        }
        assert found == {
            "number": ("integer", 0, None),
            "size": ("float", 10, None),
            "zip": ("text", 0, ["000", "001", "002", "003", "004"]),
            "note": ("text", 85, ['says "a,\nb"']),
        }
        features, kinds = training.arrays()
        assert features["note"][:2].tolist() == [b'says "a,\nb"', b""]
        assert features["number"].dtype == np.int64 and kinds.dtype == np.int64

    def test_gaps_types_columns_and_names_may_be_given(self, tmp_path: Path) -> None:
        with gzip.open(tmp_path / "x.csv.gz", "wt") as file:
            file.write("1;?;a\n2;5;b\n")
        training, _ = csv_files.read(
            tmp_path,
            names=["one", "two", "three"],
            columns=["two", "one"],
            types={"one": "text"},
            missing={"two": 7},
            missing_values={"?"},
            delimiter=";",
            validation=0,
        )
        features = training.arrays()
        assert {name: values.tolist() for name, values in features.items()} == {
            "one": [b"1", b"2"],
            "two": [7, 5],
        }
        assert features["two"].dtype == np.int64

    @pytest.mark.parametrize(
        ("content", "options", "error"),
        [
            (b"a,b\n1,2\n3\n", {}, r"Line 3 of 'x.csv' in .* has 1 values, but there are 2"),
            (b'a,b\n1,"2\n', {}, r"Line 2 of 'x.csv' in .* is not CSV: unexpected end of data"),
            (b"a,b\n1,\xff\n", {}, r"'x.csv' in .* is not UTF-8"),
            (b"a,a\n1,2\n", {}, r"has the column 'a' twice"),
            (b"", {}, r"'x.csv' in .* has no header"),
            (b"a,b\n", {}, r"have no rows"),
            (b"a,b\n1,2\n", {"label": "c"}, r"has no column 'c', but a, b\. Correct"),
            (b"a,b\n1,\n", {"label": "b"}, r"1 rows of .* have no value in the column 'b'"),
            (b"a,b\n1,x\n", {"label": "b"}, r"label 'b' of .* is a text with 1 different values"),
            (b"a,b\n1,x\n", {"types": {"b": "float"}}, r"column 'b' of 'x.csv' .* has 'x' after"),
            (b"a,b\n1,2\n", {"validation": 1.0}, r"validation=1.0 is not a share"),
            (b"a,b\r1,2\r", {}, r"'x.csv' in .* has lines that end with CR alone\. Save it"),
        ],
    )
    def test_a_fault_is_quoted_with_its_place(
        self, tmp_path: Path, content: bytes, options: dict[str, Any], error: str
    ) -> None:
        (tmp_path / "x.csv").write_bytes(content)
        with pytest.raises(TrainingError, match=error):
            csv_files.read(tmp_path, **options)

    def test_gzip_files_that_are_cut_off_or_none_are_named(self, tmp_path: Path) -> None:
        whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(9999)))
        for content in (whole[:-500], whole[:-4], whole[:20], b"a,b\n1,2\n"):
            (tmp_path / "x.csv.gz").write_bytes(content)
            with pytest.raises(TrainingError, match="'x.csv.gz' in .* not a complete gzip file"):
                csv_files.read(tmp_path)

    def test_a_text_may_be_long(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text(f"text,{'n' * 200_000}\n{'a' * 300_000},1\nb,2\n")
        training, _ = csv_files.read(tmp_path, validation=0)
        assert [len(text) for text in training.arrays()["text"]] == [300_000, 1]

    def test_files_of_other_columns_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("a,b\n1,2\n")
        (tmp_path / "b.csv").write_text("b,a\n1,2\n")
        with pytest.raises(TrainingError, match="The header of 'b.csv' .* Give all files the same"):
            csv_files.read(tmp_path)
        with pytest.raises(TrainingError, match="has no files 'c.csv'"):
            csv_files.read(tmp_path, "c.csv")

    def test_what_excel_writes_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes("\ufeffgröße,b\r\n1,2\r\n".encode())
        assert csv_files.read(tmp_path, validation=0)[0].arrays()["größe"].tolist() == [1]


class TestRecords:
    def test_features_are_found(self, tmp_path: Path) -> None:
        write_tfrecords(tmp_path, 200)
        training, _ = tfrecord_files.read(tmp_path, validation=0)
        found = training.arrays()
        assert found["point"].shape == (200, 2) and found["kind"].shape == (200,)
        assert found["words"].shape == (200, 2) and found["words"][1].tolist() == [b"x", b""]

    def test_a_record_that_is_cut_off_is_reported(self, tmp_path: Path) -> None:
        write_tfrecords(tmp_path, 200)
        for name in ("a", "b"):
            file = tmp_path / f"{name}.tfrecord"
            whole = file.read_bytes()
            file.write_bytes(whole[:-7])
            with pytest.raises(TrainingError, match=f"'{name}.tfrecord' in .* is not a complete"):
                tfrecord_files.read(tmp_path)
            file.write_bytes(whole)
        with pytest.raises(TrainingError, match="have no feature 'size2', but kind, number"):
            tfrecord_files.read(tmp_path, label="size2")


class TestParquet:
    def test_types_are_turned_into_those_of_models(self, tmp_path: Path) -> None:
        write_parquet(tmp_path, 100)
        training, _ = parquet_files.read(tmp_path, label="kind", validation=0)
        features, _ = training.arrays()
        dtypes = {name: (str(array.dtype), array.shape) for name, array in features.items()}
        assert dtypes == {
            "number": ("int64", (100,)),
            "size": ("float32", (100,)),
            "count": ("float32", (100,)),
            "zip": ("object", (100,)),
            "vector": ("float32", (100, 2)),
            "day": ("int64", (100,)),
        }
        assert features["day"][99] == 99 * 86400 and features["zip"][6] == b"001"
        assert training.columns["zip"].values == ["000", "001", "002", "003", "004"]
        again, _ = parquet_files.read(tmp_path, columns=["count"], missing={"count": -1})
        assert again.arrays()["count"].dtype == np.int64 and again.columns["count"].missing == 34

    def test_faults_are_quoted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyarrow
        from pyarrow import parquet

        (tmp_path / "x.parquet").write_bytes(b"PAR1")
        with pytest.raises(TrainingError, match="'x.parquet' .* not a complete Parquet file"):
            parquet_files.read(tmp_path)
        parquet.write_table(pyarrow.table({"a": [[1], [2, 3]]}), tmp_path / "x.parquet")
        with pytest.raises(TrainingError, match="column 'a' of .* has the type list<"):
            parquet_files.read(tmp_path)
        pairs = pyarrow.array([[1.0, 2.0], None], pyarrow.list_(pyarrow.float32(), 2))
        parquet.write_table(pyarrow.table({"a": pairs}), tmp_path / "x.parquet")
        with pytest.raises(TrainingError, match="column 'a' of .* has lists, and none in 1 rows"):
            parquet_files.read(tmp_path)
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(TrainingError, match="Write 'pyarrow' in a requirements.txt"):
            parquet_files.read(tmp_path)


class TestPictures:
    @staticmethod
    def folder(path: Path, count: int = 20) -> Path:
        for name, grey in (("dog", 200), ("cat", 50)):
            (path / name / "deep").mkdir(parents=True)
            for number in range(count):
                picture = Image.new("RGB", (20 + number, 12), (grey, grey, grey))
                where = "deep/" if number % 2 else ""
                picture.save(path / name / f"{where}{number}.{('png', 'jpg')[number % 3 == 0]}")
        (path / "cat" / ".DS_Store").write_bytes(b"x")
        return path

    def test_classes_are_folders_by_name_and_each_is_held_out_alike(self, tmp_path: Path) -> None:
        sets = picture_folders.read(self.folder(tmp_path), height=8, width=10)
        assert [some.count for some in sets] == [32, 8] and sets[0].classes == ["cat", "dog"]
        for some in sets:
            pictures, labels = some.arrays()
            assert pictures.shape[1:] == (8, 10, 3) and pictures.dtype == np.float32
            assert np.allclose(pictures.mean(axis=(1, 2, 3)), np.where(labels, 200, 50), atol=2)
            assert labels.mean() == 0.5

    def test_faults_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match="has no folders. Put a folder there"):
            picture_folders.read(tmp_path, height=8, width=8)
        # As if the folder above that with the classes were given.
        self.folder(tmp_path / "pets", 4)
        with pytest.raises(TrainingError, match="has one class, 'pets', .*, give that folder"):
            picture_folders.read(tmp_path, height=8, width=8)
        folder = tmp_path / "pets"
        (folder / "cat" / "notes.txt").write_text("x")
        with pytest.raises(TrainingError, match="'cat/notes.txt' in .* is not a PNG, JPEG"):
            picture_folders.read(folder, height=8, width=8)
        (folder / "cat" / "notes.txt").rename(folder / "cat" / "broken.png")
        (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
        training, _ = picture_folders.read(folder, height=8, width=8, validation=0)
        with pytest.raises(tf.errors.InvalidArgumentError, match="cat/broken.png"):
            training.arrays()
        (folder / "bird").mkdir()
        with pytest.raises(TrainingError, match="folder 'bird' in .* has no files"):
            picture_folders.read(folder, height=8, width=8)

    def test_the_formats_are_those_that_are_decoded(self) -> None:
        from training.formats import bmp, gif, jpeg, png, webp

        formats = (png, jpeg, webp, gif, bmp)
        assert tuple(one.BEGINNING for one in formats) == picture_folders.BEGINNINGS
