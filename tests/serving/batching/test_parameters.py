"""The file that says how requests are batched: read, and refused where it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.batching.parameters import BatchingParameters, read
from tests.serving.batching.conftest import parameters_file
from tests.serving.test_process import run


def test_every_parameter_is_read(tmp_path: Path) -> None:
    path = parameters_file(
        tmp_path,
        """
        max_batch_size { value: 64 }
        batch_timeout_micros { value: 500 }
        max_enqueued_batches { value: 20 }
        num_batch_threads { value: 3 }
        thread_pool_name { value: "threads" }
        allowed_batch_sizes: 8
        allowed_batch_sizes: 32
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 32 }
        """,
    )
    assert read(str(path)) == BatchingParameters(
        max_batch_size=64,
        batch_timeout_micros=500,
        max_enqueued_batches=20,
        num_batch_threads=3,
        allowed_batch_sizes=(8, 32),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=32,
        thread_pool_name="threads",
    )
    path.write_text("")
    assert read(str(path)) == BatchingParameters()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 32 } allowed_batch_sizes: 8 allowed_batch_sizes: 16",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 16; "
            "expected 32",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 8",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1; was 0"),
        ("max_batch_size: 3", "Invalid protobuf file: "),
    ],
)
def test_bad_parameters_are_a_start_failure(tmp_path: Path, text: str, message: str) -> None:
    path = parameters_file(tmp_path, text)
    done = run("--model_base_path=/m", "--enable_batching", f"--batching_parameters_file={path}")
    assert done.returncode == 255
    assert "Failed to start server. Error: INVALID_ARGUMENT: " + message in done.stdout


def test_parameters_without_the_flag_are_a_start_failure(tmp_path: Path) -> None:
    done = run("--model_base_path=/m", "--batching_parameters_file=/x")
    assert done.returncode == 255
    assert (
        "server_options.batching_parameters_file is set without setting "
        "server_options.enable_batching to true." in done.stdout
    )
