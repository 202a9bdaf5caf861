"""Warm-up records: run before a version is AVAILABLE, and any failure fails the load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2, prediction_log_pb2

from serving.errors import Code, ServingError
from serving.predict import tf_records
from tests.serving.asking import statuses
from tests.serving.conftest import model_stub, predict_request
from tests.serving.models.test_many_models import listed, model
from tests.serving.models.test_versions import FAST
from tests.serving.predict.test_examples import (
    CLASSIFY,
    REGRESS,
    classification,
    example,
    multi,
    regression,
)
from tests.serving_fixtures import running_server
from tests.waiting import eventually

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


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of data, bit by bit as the standard has it."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("data", [b"", b"123456789", os.urandom(10_001)], ids=len)
def test_the_checksum_is_a_masked_crc32c(data: bytes) -> None:
    assert crc32c(b"123456789") == 0xE3069283, "the check value of the standard"
    rotated = (tf_records.masked_crc32c(data) - 0xA282EAD8) & 0xFFFFFFFF
    assert (rotated << 15 | rotated >> 17) & 0xFFFFFFFF == crc32c(data)


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


@pytest.mark.parametrize("flags", [[], ["--enable_batching"]], ids=["alone", "batched"])
def test_records_of_every_kind_run_before_the_version_serves(
    models: Path, tmp_path: Path, flags: list[str]
) -> None:
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
    flags = [*flags, "--num_request_iterations_for_warmup=3"]
    with running_server(base, "examples", flags) as server:
        log = server.log()
        assert "Number of warmup records read: 4." in log
        assert log.index("warmup records read") < log.index("Successfully loaded")


FAILURES: list[tuple[Callable[[Path], Any], str]] = [
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
        "DATA_LOSS: corrupted record at 0. Please verify your warmup data is in TFRecord format.",
    ),
]


def test_any_failure_fails_the_load_and_leaves_the_other_versions(
    models: Path, tmp_path: Path
) -> None:
    base, config = tmp_path / "m", tmp_path / "models.config"
    base.mkdir()
    most = [log_of_x(5)] * 1000
    version(models, "half_plus_two", base / "1", lambda path: write_records(path, most))
    for number, (write, _) in enumerate(FAILURES, 2):
        version(models, "half_plus_three", base / str(number), write)
    config.write_text(listed(model("m", base, "model_version_policy { all {} }")))
    flags = [f"--model_config_file={config}", *FAST]
    with running_server(base, "m", flags) as server:
        eventually(lambda: statuses(server) == {1: "AVAILABLE"} | dict.fromkeys(range(2, 7), "END"))
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "m"
        found = model_stub(server).GetModelStatus(request).model_version_status
        told = [f"{Code(one.status.error_code).name}: {one.status.error_message}" for one in found]
        for text, (_, expected) in zip(reversed(told[:-1]), FAILURES, strict=True):
            assert text.startswith(expected)


def test_records_run_in_batches_where_requests_do(models: Path, tmp_path: Path) -> None:
    """So what is warm is what requests will run."""
    base, parameters = tmp_path / "m", tmp_path / "batching.config"
    base.mkdir()
    parameters.write_text("max_batch_size { value: 4 }")
    for number, rows in ((1, 4), (2, 5)):
        records = [log_of_x(rows)]
        folder = base / str(number)
        version(models, "half_plus_two", folder, lambda path, r=records: write_records(path, r))
    flags = ["--enable_batching", f"--batching_parameters_file={parameters}", *FAST]
    config = tmp_path / "models.config"
    config.write_text(listed(model("m", base, "model_version_policy { all {} }")))
    with running_server(base, "m", [*flags, f"--model_config_file={config}"]) as server:
        eventually(lambda: statuses(server) == {2: "END", 1: "AVAILABLE"})
        assert "Task size 5 is larger than maximum input batch size 4" in server.log()


def test_warm_up_can_be_turned_off(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    version(models, "half_plus_two", base / "1", lambda path: write_records(path, [b"broken"]))
    with running_server(base, "m", ["--enable_model_warmup=false", *FAST]) as server:
        assert statuses(server) == {1: "AVAILABLE"}
