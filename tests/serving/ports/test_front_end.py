"""The native front end's own: which one runs, and what happens when one of the two sides ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.ports.native.frames import HEADER, PROTOCOL, Kind
from serving.ports.native.program import NAME
from tests.frontend import program
from tests.serving.asking import http_call, outcome
from tests.serving.conftest import predict_request, predict_stub, served, slow_request
from tests.serving.goodbye import drained_seconds
from tests.serving_fixtures import (
    FRONT_END,
    ModelServer,
    failed_start,
    running_server,
)
from tests.waiting import eventually

ONE = predict_request("m", x=np.array([2], np.float32))


@pytest.fixture
def base(models: Path, tmp_path: Path) -> Path:
    return served(models, tmp_path / "m", "half_plus_two", 1)


def child(server: ModelServer) -> int:
    """Return the process id of a server's front end."""
    done = subprocess.run(
        ["pgrep", "-f", "-P", str(server.process.pid), NAME], capture_output=True, text=True
    )
    return int(done.stdout)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_log_says_which_one_runs(base: Path, front_end: str) -> None:
    with running_server(base, "m") as server:
        assert f"Front end: {front_end}" in server.log()


def written(file: Path, lines: str) -> Path:
    """Write a program in Python that can take the place of the front end; return its file."""
    file.write_text(f"#!{sys.executable}\nimport os, sys, time\n{lines}\n")
    file.chmod(0o755)
    return file


@pytest.mark.usefixtures("only_native")
class TestNative:
    def test_auto_takes_the_program_if_there_is_one(
        self, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(FRONT_END, "")
        with running_server(base, "m", [f"--front_end_program={program()}"]) as server:
            assert "Front end: native" in server.log()
        with running_server(base, "m", [f"--front_end_program={tmp_path}/none"]) as server:
            assert f"Front end: python. {tmp_path}/none: No such file" in server.log()
            assert predict_stub(server).Predict(ONE).outputs["y"].float_val == [3]

    def test_on_demand_a_missing_program_is_a_start_failure(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(FRONT_END, "")
        flags = ["--front_end=native", f"--front_end_program={tmp_path}/none"]
        done = failed_start(base, "m", flags)
        assert f"{tmp_path}/none: No such file or directory" in done.stdout

    def test_a_program_of_another_version_is_not_used(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hello = HEADER.pack(Kind.HELLO, PROTOCOL + 1, 0, 0)
        other = written(
            tmp_path / "other",
            f"os.write(int(sys.argv[1].partition('=')[2]), {hello!r})\ntime.sleep(60)",
        )
        monkeypatch.setenv(FRONT_END, "")
        with running_server(base, "m", [f"--front_end_program={other}"]) as server:
            assert f"speaks version {PROTOCOL + 1} of the protocol" in server.log()
            assert predict_stub(server).Predict(ONE).outputs["y"].float_val == [3]

    @pytest.mark.slow
    def test_a_program_that_starts_slowly_is_waited_for(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a machine that pauses: the server gave it up, and served the ports itself."""
        slow = written(
            tmp_path / "slow",
            f"time.sleep(11)\nos.execv({str(program())!r}, [{NAME!r}, *sys.argv[1:]])",
        )
        monkeypatch.setenv(FRONT_END, "")
        with running_server(base, "m", [f"--front_end_program={slow}"]) as server:
            assert "Front end: native" in server.log()
            assert predict_stub(server).Predict(ONE).outputs["y"].float_val == [3]

    def test_without_its_front_end_the_server_ends_to_be_started_anew(self, base: Path) -> None:
        with running_server(base, "m") as server:
            os.kill(child(server), signal.SIGKILL)
            assert server.process.wait(60) == 1
            assert "has ended with status -9" in server.log()

    def test_without_its_server_the_front_end_ends(self, base: Path) -> None:
        with running_server(base, "m") as server:
            pid = child(server)
            server.process.kill()
            server.process.wait()
            eventually(lambda: not is_running(pid))

    def test_a_terminals_ctrl_c_meets_both_and_requests_end_first(
        self, models: Path, tmp_path: Path
    ) -> None:
        base = served(models, tmp_path / "kinds", "kinds", 1)
        with running_server(base, "kinds", ["--drain_seconds=60"]) as server:
            future = predict_stub(server).Predict.future(slow_request(server, 0.5), timeout=60)
            predict_stub(server).Predict(
                predict_request("kinds", "echo_float32", x=np.zeros(1, np.float32))
            )
            for pid in (child(server), server.process.pid):
                os.kill(pid, signal.SIGINT)
            assert future.result().model_spec.name == "kinds"
            assert server.process.wait(60) == 0

    def test_a_watcher_of_health_is_told_of_the_end(self, base: Path) -> None:
        with running_server(base, "m", ["--drain_seconds=60"]) as server:
            watch = health_pb2_grpc.HealthStub(server.channel).Watch(
                health_pb2.HealthCheckRequest()
            )
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            server.process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.RpcError):
                next(watch)
            assert server.process.wait(60) == 0
            seconds = drained_seconds(server)
            assert seconds < 20, "no watcher holds it up until it is cut off"

    def test_a_socket_that_a_killed_server_has_left_is_taken_over(
        self, base: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "grpc.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        with running_server(base, "m", [f"--grpc_socket_path={path}"]) as server:
            with grpc.insecure_channel(f"unix:{path}") as channel:
                assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"
            assert predict_stub(server).Predict(ONE).outputs["y"].float_val == [3]

    def test_large_requests_and_answers_go_their_own_way(self, base: Path) -> None:
        many = np.arange(3_000_000, dtype=np.float32)
        with running_server(base, "m") as server:
            unlimited = [("grpc.max_receive_message_length", -1)]
            address = f"127.0.0.1:{server.grpc_port}"
            with grpc.insecure_channel(address, options=unlimited) as channel:
                server.channel.close()
                server.channel = channel
                answer = predict_stub(server).Predict(predict_request("m", x=many), timeout=60)
                np.testing.assert_array_equal(answer.outputs["y"].float_val[-3:], many[-3:] / 2 + 2)
            body = json.dumps({"instances": many[:300_000].tolist()}).encode()
            status, text = http_call(server, "POST", "/v1/models/m:predict", body)
            assert status == 200
            assert json.loads(text)["predictions"][-1] == 299_999 / 2 + 2

    def test_arguments_without_an_effect_are_said(self, base: Path) -> None:
        flag = "--grpc_channel_arguments=grpc.lb_policy_name=x,grpc.max_concurrent_streams=7"
        with running_server(base, "m", [flag]) as server:
            assert "grpc.lb_policy_name has no effect on the native front end" in server.log()
            assert "grpc.max_concurrent_streams has no effect" not in server.log()

    def test_messages_that_come_in_at_the_same_time_are_bounded(self, base: Path) -> None:
        """320 MB of messages, of which the front end may have a part only."""
        content = bytes(20 * 2**20)
        with running_server(base, "m", [f"--max_waiting_bytes={64 * 2**20}"]) as server:
            address = f"127.0.0.1:{server.grpc_port}"

            def ask(_: int) -> str:
                with grpc.insecure_channel(address) as channel:
                    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
                    try:
                        call(content, timeout=60)
                    except grpc.RpcError as error:
                        return error.code().name
                return "OK"

            with ThreadPoolExecutor(16) as threads:
                codes = set(threads.map(ask, range(16)))
            # Zeros are no message, which Python says of those that it was handed.
            # Calls that are given up end as CANCELLED where the client still sends.
            assert codes <= {"INTERNAL", "RESOURCE_EXHAUSTED", "CANCELLED"}
            status = Path(f"/proc/{child(server)}/status").read_text()
            most = int(status.partition("VmHWM:")[2].split()[0]) * 1024
            assert most < 250 * 2**20
            assert predict_stub(server).Predict(ONE).outputs["y"].float_val == [3]

    def test_open_calls_of_all_connections_are_bounded(self, base: Path) -> None:
        flags = ["--grpc_max_threads=1", "--max_waiting_requests=9"]
        with running_server(base, "m", flags) as server, ExitStack() as clients:
            options = [("grpc.use_local_subchannel_pool", 1)]
            stubs = [
                health_pb2_grpc.HealthStub(
                    clients.enter_context(
                        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options)
                    )
                )
                for _ in range(5)
            ]
            request = health_pb2.HealthCheckRequest()
            # A watch is open for as long as somebody wants it. 1000 besides those that may run.
            watches = [stub.Watch(request) for stub in stubs for _ in range(202)]
            assert {next(watch).status for watch in watches} == {1}
            with pytest.raises(grpc.RpcError) as refused:
                next(stubs[0].Watch(request))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "Too many calls are open" in refused.value.details()
            with pytest.raises(grpc.RpcError):
                predict_stub(server).Predict(ONE)
            assert stubs[0].Check(request).status == 1, "probes are answered all the same"
            for watch in watches[:100]:
                watch.cancel()
            eventually(lambda: outcome(predict_stub(server).Predict.future(ONE))[0] == "OK")
