"""The process: flags, refusals at the start, SIGTERM."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.ports import held_ports
from tests.serving.conftest import predict_request, predict_stub, served, slow_request
from tests.serving.goodbye import drained_seconds
from tests.serving.models.test_versions import broken
from tests.serving_fixtures import ROOT, failed_start, running_server
from tests.waiting import eventually


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_is_usage_on_stdout_and_exit_255() -> None:
    done = run("--help")
    assert done.returncode == 255
    assert "--rest_api_port=0" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from serving.__main__ import main; main(['--help']);"
        "print([m for m in ('tensorflow', 'numpy', 'grpc', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith("[]\n")


def test_version_is_two_lines_and_exit_0() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert "TensorFlow Library: 2." in done.stdout


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--port=abc", "Couldn't interpret value abc for flag port."),
        ("--rest_api_enable_cors_support=1", "Couldn't interpret value 1 for flag rest_api_enable"),
    ],
)
def test_a_bad_value_is_usage_and_exit_255(flag: str, text: str) -> None:
    done = run(flag, "--model_base_path=/models/m")
    assert done.returncode == 255
    assert done.stdout.startswith(text)
    assert "Flags:" in done.stdout


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "model_base_path and server_options.model_config_file are empty"),
        (["--model_base_path=m"], "Expected model default to have an absolute path or URI; got"),
        (
            ["--model_base_path=/m", "--port=0"],
            "At least one of server_options.port or grpc_socket",
        ),
        (["--model_base_path=/m", "--use_alts_credentials"], "UNIMPLEMENTED: --use_alts_cred"),
        (["--model_base_path=/m", "--prefer_tflite_model"], "UNIMPLEMENTED: --prefer_tflite_m"),
    ],
)
def test_what_cannot_be_served_is_a_start_failure(flags: list[str], text: str) -> None:
    done = run(*flags)
    assert done.returncode == 255
    assert done.stdout.startswith("Failed to start server. Error: ")
    assert text in done.stdout


def test_a_value_behind_a_space_is_asked_for() -> None:
    """'Both model_base_path and model_config_file are empty', and it stood there."""
    done = run("--model_base_path", "/models/m", "--port", "8500")
    assert done.returncode == 255
    assert "--model_base_path has no value. Write --model_base_path=VALUE, with no space." in (
        done.stdout
    )


def test_unknown_arguments_are_reported_and_passed_over(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    flags = ["--no_such_flag=1", "stray", "--port", "--flush_filesystem_caches"]
    with running_server(base, "m", flags) as server:
        for argument in ("--no_such_flag=1", "stray", "--port"):
            assert f"unknown argument: {argument}\n" in server.log()
        assert "--flush_filesystem_caches has no effect on this server.\n" in server.log()


@pytest.mark.parametrize("which", ["grpc", "rest"])
def test_a_port_in_use_is_a_start_failure(models: Path, tmp_path: Path, which: str) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with socket.create_server(("0.0.0.0", 0)) as taken, held_ports(1) as [free]:
        port = taken.getsockname()[1]
        ports = (port, free) if which == "grpc" else (free, port)
        done = failed_start(base, "m", ports=ports)
    assert "Failed to start server. Error: " in done.stdout
    assert str(port) in done.stdout


def test_a_first_version_that_never_loads_is_a_start_failure(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    broken(base, 1)
    flags = ["--max_num_load_retries=1", "--load_retry_interval_micros=10000"]
    done = failed_start(base, "m", flags)
    assert (
        "1 servable(s) did not become available: {{{name: m version: 1} due to error: "
        in done.stdout
    )


def test_a_unix_socket_serves_too(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    path = tmp_path / "grpc.sock"
    with running_server(base, "m", [f"--grpc_socket_path={path}"], port=False) as server:
        server.channel.close()
        server.channel = grpc.insecure_channel(f"unix:{path}")
        answer = predict_stub(server).Predict(predict_request("m", x=np.array([2], np.float32)))
        assert answer.outputs["y"].float_val == [3]


def test_tensor_content_on_request(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m", ["--enable_serialization_as_tensor_content"]) as server:
        answer = predict_stub(server).Predict(predict_request("m", x=np.array([2], np.float32)))
        assert answer.outputs["y"].tensor_content == np.array([3], np.float32).tobytes()


def test_a_file_has_the_sessions_settings_and_flags_the_last_word(tmp_path: Path) -> None:
    from serving.config import ServerConfig
    from serving.server import _session_config

    (tmp_path / "session").write_text(
        "inter_op_parallelism_threads: 3 intra_op_parallelism_threads: 4 allow_soft_placement: true"
    )
    named = str(tmp_path / "session")
    made = _session_config(
        ServerConfig(tensorflow_session_config_file=named, tensorflow_intra_op_parallelism=2)
    )
    assert (made.inter_op_parallelism_threads, made.intra_op_parallelism_threads) == (3, 2)
    assert made.allow_soft_placement


def test_sigterm_when_idle_ends_at_once(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m", ["--drain_seconds=100"]) as server:
        predict_stub(server).Predict(predict_request("m", x=np.array([2], np.float32)))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        # Not the time that its process takes to end.
        seconds = drained_seconds(server)
        assert seconds < 4, "it waits for nobody"


def test_sigterm_while_waiting_for_a_model_ends_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path / "none", "m", wait=False) as server:
        eventually(lambda: "Could not find base path" in server.log())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_sigterm_lets_a_request_finish(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "kinds", 1)
    with running_server(base, "m", ["--drain_seconds=60"]) as server:
        stub = predict_stub(server)
        slow = slow_request(server, seconds=0.5)
        future = stub.Predict.future(slow, timeout=60)
        # Accepted: the stream is open once a later call was answered.
        stub.Predict(predict_request("m", "echo_float32", x=np.zeros(1, np.float32)))
        server.process.send_signal(signal.SIGTERM)
        assert future.result().model_spec.version.value == 1
        assert server.process.wait(60) == 0


def test_sigterm_cuts_off_what_takes_too_long(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "kinds", 1)
    with running_server(base, "m") as server:
        slow = predict_request("m", "slow", steps=np.array([10**8], np.int32))
        future = predict_stub(server).Predict.future(slow, timeout=100)
        predict_stub(server).Predict(
            predict_request("m", "echo_float32", x=np.zeros(1, np.float32))
        )
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert future.exception() is not None
        seconds = drained_seconds(server)
        assert 1.9 < seconds < 20, "2 s were said"
