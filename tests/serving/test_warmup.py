"""Warm-up records: run before a version is AVAILABLE, and any failure fails the load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import prediction_log_pb2

from serving import tf_records
from serving.errors import ServingError
from tests.serving.conftest import predict_request
from tests.serving.test_examples import (
    CLASSIFY,
    REGRESS,
    classification,
    example,
    multi,
    regression,
)
from tests.serving.test_versions import FAST, eventually, statuses
from tests.serving_fixtures import ModelServer, running_server

REQUESTS = Path("assets.extra", "tf_serving_warmup_requests")


def write_records(path: Path, records: list[bytes]) -> None:
    """Write TFRecords as TensorFlow does; `tf_records` only reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for record in records:
            length = len(record).to_bytes(8, "little")
            for part in (length, record):
                file.write(part + tf_records.masked_crc32c(part).to_bytes(4, "little"))


def logged(**logs: Any) -> bytes:
    """Return a serialised PredictionLog: `predict=`, `classify=`, ... with its request."""
    entry = prediction_log_pb2.PredictionLog()
    for kind, request in logs.items():
        getattr(entry, f"{kind}_log").request.CopyFrom(request)
    return entry.SerializeToString()


def log_of_x(count: int = 1) -> bytes:
    return logged(predict=predict_request("m", x=np.ones(count, np.float32)))


def version(models: Path, kind: str, folder: Path, write: Callable[[Path], None]) -> None:
    """Put a version with warm-up records in place, whole at once."""
    partial = folder.parent / f".{folder.name}.partial"
    shutil.copytree(models / kind, partial)
    write(partial / REQUESTS)
    partial.rename(folder)


def test_the_checksum_is_crc32c() -> None:
    """The check value of the standard; long data is computed in lanes, which must not differ."""
    assert tf_records.crc32c(b"123456789") == 0xE3069283
    data = os.urandom(200_001)
    whole = tf_records.crc32c(data)
    assert tf_records.crc32c(data[:-1]) != whole
    state = 0xFFFFFFFF
    for byte in data:
        state = tf_records._PLAIN_TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    assert whole == state ^ 0xFFFFFFFF


def test_records_are_read_back_and_damage_is_data_loss(tmp_path: Path) -> None:
    path = tmp_path / "records"
    records = [b"", b"a", bytes(100_000)]
    write_records(path, records)
    assert list(tf_records.read(path)) == records
    whole = path.read_bytes()
    for damaged, text in (
        (b"no records in here at all", "corrupted record at 0"),
        (whole[:20], "truncated record at 16"),
        (whole[:-1], "truncated record at 33"),
        (whole[:50] + b"\1" + whole[51:], "corrupted record at 33"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ServingError) as caught:
            list(tf_records.read(path))
        assert str(caught.value) == f"DATA_LOSS: {text}"


def test_records_of_every_kind_run_before_the_version_serves(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "examples"
    base.mkdir()
    one = example(x=0.5)
    records = [
        logged(predict=predict_request("m", "predict", inputs=np.array([b""], object)[:0])),
        logged(classify=classification("", one)),
        logged(regress=regression("regress", one)),
        logged(multi_inference=multi(("regress", REGRESS), ("", CLASSIFY), given=(one,))),
    ]
    version(models, "examples", base / "1", lambda path: write_records(path, records))
    flags = ["--num_request_iterations_for_warmup=3"]
    with running_server(base, "examples", flags) as server:
        log = server.log()
        assert "Number of warmup records read: 4." in log
        assert log.index("warmup records read") < log.index("Successfully loaded")


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (
            lambda path: write_records(path, [logged(predict=predict_request("m", "nope"))]),
            'FAILED_PRECONDITION: Serving signature key "nope" not found.',
        ),
        (
            lambda path: write_records(path, [b"no PredictionLog"]),
            "INVALID_ARGUMENT: Failed to parse warmup record: no PredictionLog from ",
        ),
        (
            lambda path: write_records(path, [b""]),
            "UNIMPLEMENTED: Unsupported log_type for warmup: None",
        ),
        (
            lambda path: write_records(path, [log_of_x()] * 1001),
            "INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at ",
        ),
        (
            lambda path: (path.parent.mkdir(), path.write_bytes(b"not a TFRecord file")),
            "DATA_LOSS: corrupted record at 0. Please verify your warmup data is in TFRecord "
            "format.",
        ),
    ],
    ids=["bad request", "no log", "empty log", "too many", "no records"],
)
def test_a_failure_fails_the_load_and_leaves_the_old_version(
    plain: ModelServer, models: Path, write: Callable[[Path], None], text: str
) -> None:
    number = max(statuses(plain)) + 1
    version(models, "half_plus_three", plain.base_path / str(number), write)
    eventually(lambda: statuses(plain).get(number) == "END")
    assert text in plain.log()
    assert statuses(plain)[1] == "AVAILABLE"


@pytest.fixture(scope="module")
def plain(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    base = tmp_path_factory.mktemp("warmup") / "m"
    base.mkdir()
    version(
        models, "half_plus_two", base / "1", lambda path: write_records(path, [log_of_x(5)] * 1000)
    )
    with running_server(base, "m", FAST) as server:
        yield server


def test_warm_up_can_be_turned_off(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    version(models, "half_plus_two", base / "1", lambda path: write_records(path, [b"broken"]))
    with running_server(base, "m", ["--enable_model_warmup=false", *FAST]) as server:
        assert statuses(server) == {1: "AVAILABLE"}
