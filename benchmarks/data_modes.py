"""A training's epoch with its data on the local disk, copied from a store first, and streamed.

    python -m benchmarks.data_modes [--gigabytes 2] [--rounds 1] [--folder DIR]

The store is a real one (SeaweedFS) on this machine, whose processors it uses, too. The data set
are TFRecord files of 128 MB with JPEG pictures of some 20 kB, read by `training.readers` with
`input_folder`, as a boot file would. Each mode is a process of its own, and the modes take turns:

  local   the files are on the disk
  copy    they are fetched from the store first, as the agent does with `dataMode copy`
  stream  they are read in the store, `dataMode stream`

  before the first step  fetching and counting the records, in seconds
  epoch                  every picture decoded, made smaller and seen once by a small network
  of local's             the epoch's seconds as a share of those of `local`
  records alone          all records read, nothing else done with them
  memory                 the most resident memory of the process beyond what it has with TensorFlow
                         loaded and the network built, MB of 10^6 bytes; of `records alone, Python`
                         all of it (`training.tfrecords`, no TensorFlow)

It needs twice the data set's size on the disk, and once more for the copy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUCKET, MODES = "benchmark", ("local", "copy", "stream")
FILE_BYTES = 128 * 10**6
PICTURE_SIDE, SEEN_SIDE = 320, 64
BATCH = 64
ROWS = (
    ("before", "before the first step, s", "{:.1f}"),
    ("epoch", "epoch, s", "{:.1f}"),
    ("share", "  of local's", "{:.2f}"),
    ("records", "records alone, s", "{:.1f}"),
    ("python", "records alone, Python, s", "{:.1f}"),
    ("memory", "memory of the epoch, MB", "{:.0f}"),
    ("python_memory", "memory of records alone, Python, MB", "{:.0f}"),
)


def make(folder: Path, size: int) -> None:
    """Write TFRecord files of `size` bytes together. No picture in them is like another."""
    import numpy as np

    from training.quiet_tensorflow import tf

    random = np.random.default_rng(1)
    feature = tf.train.Feature
    written = number = 0
    while written < size:
        path = folder / f"{number:03}.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            end = min(size, written + FILE_BYTES)
            while written < end:
                small = random.integers(0, 255, (40, 40, 3)).astype("float32")
                picture = tf.cast(tf.image.resize(small, [PICTURE_SIDE] * 2, "bicubic"), tf.uint8)
                jpeg = tf.io.encode_jpeg(picture, quality=85).numpy()
                features = {
                    "picture": feature(bytes_list=tf.train.BytesList(value=[jpeg])),
                    "kind": feature(int64_list=tf.train.Int64List(value=[written % 10])),
                }
                record = tf.train.Example(features=tf.train.Features(feature=features))
                content = record.SerializeToString()
                writer.write(content)
                written += len(content) + 16
        number += 1


class Memory:
    """The most resident memory of this process from `start` on, looked at every 20 ms."""

    def start(self) -> None:
        self._begin = self._most = self._now()
        threading.Thread(target=self._watch, daemon=True).start()

    def more(self) -> float:
        """Return MB beyond that at the start."""
        return (self._most - self._begin) / 1e6

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, self._now())
            time.sleep(0.02)

    @staticmethod
    def _now() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def one(mode: str, url: str, local: str) -> dict[str, float]:
    """Measure one mode in this process."""
    from store.client import from_environment
    from store.folders import fetch
    from store.urls import S3Url
    from training.folders import input_folder
    from training.quiet_tensorflow import tf
    from training.readers import tfrecord_files

    network = tf.keras.Sequential(
        [
            tf.keras.Input([SEEN_SIDE, SEEN_SIDE, 3]),
            tf.keras.layers.Rescaling(1 / 255),
            tf.keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(10),
        ]
    )
    network.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def pictures(features: Any, label: Any) -> Any:
        def decoded(content: Any) -> Any:
            whole = tf.io.decode_jpeg(content, channels=3)
            return tf.image.resize(whole, [SEEN_SIDE, SEEN_SIDE], antialias=True)

        seen = tf.map_fn(decoded, features["picture"], fn_output_signature=tf.float32)
        return tf.ensure_shape(seen, [None, SEEN_SIDE, SEEN_SIDE, 3]), label

    memory = Memory()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=Path(local).parent) as copy:
        memory.start()
        began = time.perf_counter()
        if mode == "copy":
            fetch(from_environment(), S3Url.parse(url), Path(copy))
        place = {"local": local, "copy": copy, "stream": url}[mode]
        with input_folder(place) as data:
            training, _ = tfrecord_files.read(data, label="kind", validation=0, buffer=1000)
            found["before"] = time.perf_counter() - began
            batches = training.dataset(BATCH, shuffle_seed=1).map(pictures, 2)
            began = time.perf_counter()
            network.fit(batches, verbose=0, shuffle=False)
            found["epoch"] = time.perf_counter() - began
            found["memory"] = memory.more()
            records = training.dataset(BATCH)
            began = time.perf_counter()
            records.reduce(0, lambda count, _: count + 1)
            found["records"] = time.perf_counter() - began
    return found


def python(place: str) -> dict[str, float]:
    """Read all records in this process, without TensorFlow."""
    from training import streams, tfrecords

    began = time.perf_counter()
    count = sum(1 for file in streams.files(streams.folder(place)) for _ in tfrecords.records(file))
    assert count and "tensorflow" not in sys.modules
    status = Path("/proc/self/status").read_text()
    most = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {"python": time.perf_counter() - began, "python_memory": most * 1024 / 1e6}


@contextmanager
def data_set(where: Path, gigabytes: float) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the data set's folder, its URL in a store, and variables by which that is reached."""
    from store.access import ENDPOINT
    from tests.seaweedfs import SeaweedFS

    local = where / f"pictures-{gigabytes:g}"
    if not local.is_dir():
        unfinished = where / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished, int(gigabytes * 1e9))
        unfinished.rename(local)
    os.environ["TMPDIR"] = tempfile.tempdir = str(where)
    with SeaweedFS() as store:
        client = store.client()
        client.create_bucket(Bucket=BUCKET)
        with ThreadPoolExecutor(2) as threads:
            for sent in [
                threads.submit(client.upload_file, str(file), BUCKET, f"set/{file.name}")
                for file in sorted(local.iterdir())
            ]:
                sent.result()
        variables = {**os.environ, **store.environment()}
        assert variables[ENDPOINT]
        yield str(local), f"s3://{BUCKET}/set", variables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of the data set; default 2")
    parser.add_argument("--rounds", type=int, default=1, help="each takes the median; default 1")
    default = Path(os.environ.get("DLSTACK_HOME") or Path.home() / ".dlstack") / "benchmarks"
    parser.add_argument("--folder", type=Path, default=default, help=f"default: {default}")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--python", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one or options.python:
        print(json.dumps(one(*options.one) if options.one else python(options.python)))
        return

    def run(*flags: str) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.data_modes", *flags]
        done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    rounds: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    with data_set(options.folder.resolve(), options.gigabytes) as (local, url, variables):
        for _ in range(options.rounds):
            for mode in MODES:
                found = run("--one", mode, url, local)
                if mode != "copy":
                    found |= run("--python", url if mode == "stream" else local)
                rounds[mode].append(found)
                print(mode, json.dumps(found), file=sys.stderr, flush=True)
    table = {
        mode: {name: statistics.median(one[name] for one in some) for name in some[0]}
        for mode, some in rounds.items()
    }
    for found in table.values():
        found["share"] = found["epoch"] / table["local"]["epoch"]
    print(f"| {options.gigabytes:g} GB | {' | '.join(MODES)} |\n|---|{'---|' * len(MODES)}")
    for name, title, form in ROWS:
        cells = (form.format(table[mode][name]) if name in table[mode] else "" for mode in MODES)
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
