"""Versions that come, go and fail while requests run. Uses y = x/2 + 2 and y = x/2 + 3."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.models.folders import SETTLE_SECONDS
from tests.serving.asking import http_call, statuses
from tests.serving.conftest import (
    predict_request,
    predict_stub,
    served,
    slow_request,
)
from tests.serving.models.load import Load
from tests.serving_fixtures import ModelServer, await_ready, running_server
from tests.waiting import eventually

FAST = ["--max_num_load_retries=0", "--load_retry_interval_micros=50000"]


def broken(base: Path, version: int) -> None:
    folder = base / f"tmp{version}"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"no model")
    folder.rename(base / str(version))


def ask(server: ModelServer) -> tuple[int, float]:
    """Return the version that answered and y for x = 2."""
    answer = predict_stub(server).Predict(
        predict_request(server.name, x=np.array([2], np.float32)), timeout=60
    )
    return answer.model_spec.version.value, answer.outputs["y"].float_val[0]


@pytest.mark.parametrize(
    "flags",
    [[], pytest.param(["--enable_batching"], marks=pytest.mark.slow)],
    ids=["alone", "batched"],
)
def test_hot_swaps_under_load_lose_no_request(
    models: Path, tmp_path: Path, flags: list[str]
) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m", flags) as server:
        with Load(server) as load:
            for version, kind in (
                (2, "half_plus_three"),
                (3, "half_plus_two"),
                (4, "half_plus_three"),
            ):
                served(models, base, kind, version)
                eventually(lambda v=version: statuses(server).get(v) == "AVAILABLE")
            eventually(lambda: statuses(server) == {4: "AVAILABLE", 3: "END", 2: "END", 1: "END"})
        assert load.failures == []
        assert load.addends == {("grpc", 2.0), ("grpc", 3.0), ("rest", 2.0), ("rest", 3.0)}
        assert ask(server) == (4, 4.0)


def test_a_broken_new_version_leaves_the_old_one(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m", FAST) as server:
        broken(base, 2)
        eventually(lambda: statuses(server).get(2) == "END")
        assert statuses(server) == {2: "END", 1: "AVAILABLE"}
        assert ask(server) == (1, 3.0)
        _, text = http_call(server, "GET", "/v1/models/m/versions/2")
        [status] = json.loads(text)["model_version_status"]
        assert status["status"]["error_code"] != "OK"
        assert status["status"]["error_message"]
        # A third one, sound, takes over.
        served(models, base, "half_plus_three", 3)
        eventually(lambda: ask(server) == (3, 4.0))


def test_a_failed_load_is_tried_again(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    flags = ["--max_num_load_retries=1000", "--load_retry_interval_micros=50000"]
    with running_server(base, "m", flags) as server:
        broken(base, 2)
        eventually(lambda: statuses(server).get(2) == "LOADING")
        assert ask(server) == (1, 3.0)
        (base / "2" / "saved_model.pb").unlink()
        shutil.copytree(models / "half_plus_three", base / "2", dirs_exist_ok=True)
        eventually(lambda: ask(server) == (2, 4.0))


def test_a_version_mended_in_place_is_tried_again(models: Path, tmp_path: Path) -> None:
    """Also when all tries are used up: other files are another version of the truth."""
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m", FAST) as server:
        broken(base, 2)
        eventually(lambda: statuses(server).get(2) == "END")
        (base / "2" / "saved_model.pb").unlink()
        shutil.copytree(models / "half_plus_three", base / "2", dirs_exist_ok=True)
        eventually(lambda: ask(server) == (2, 4.0))


class SlowCopy:
    """Copies a model as a slow program does: the graph first, the variables in pieces, and so on.

    Attributes:
        longest: the longest time between two writes.
        last: when the last one was.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self.longest, self.last = 0.0, time.monotonic()
        # Apart from whoever looks meanwhile, which may take long on a busy machine.
        self._thread = threading.Thread(target=self._copy)

    def __enter__(self) -> SlowCopy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def _copy(self) -> None:
        files = (path for path in self._source.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path.name != "saved_model.pb"):
            target = self._target / path.relative_to(self._source)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            with target.open("wb") as file:
                # It goes on for longer than the server waits between its looks.
                deadline = time.monotonic() + 0.5
                while time.monotonic() < deadline:
                    file.seek(0)
                    file.write(content[: len(content) // 2])
                    file.flush()
                    self._wrote()
                    time.sleep(0.02)
                file.write(content[len(content) // 2 :])
            self._wrote()

    def _wrote(self) -> None:
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now


def test_a_version_that_is_being_copied_is_not_seen_until_it_is_whole(
    models: Path, tmp_path: Path
) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m", FAST) as server:
        for version in range(2, 7):
            (base / str(version)).mkdir()
            remark = f"{version} is passed over: it has no saved_model.pb (yet)."
            eventually(lambda remark=remark: remark in server.log())
            before = ask(server)
            looks = []
            with SlowCopy(models / "half_plus_three", base / str(version)) as copy:
                while copy.goes_on:
                    looks.append((statuses(server).keys(), ask(server), time.monotonic()))
            eventually(lambda version=version: ask(server) == (version, 4.0))
            # The last look may have ended long after the copy did.
            early = [look for look in looks if look[2] < copy.last + SETTLE_SECONDS / 2]
            if early and copy.longest < SETTLE_SECONDS / 2:
                break
            # This machine has held the copy up for so long that it looked whole.
        else:
            pytest.fail("no copy went on without a long pause")
        for seen, answer, _ in early:
            assert version not in seen, "not even as LOADING"
            assert answer == before
        assert f"Loading servable {{name: m version: {version}}} failed" not in server.log()


def test_folders_that_are_no_versions_are_skipped(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    (base / ".2.partial").mkdir()
    (base / "latest").mkdir()
    (base / "00000003").symlink_to(models / "half_plus_three")
    with running_server(base, "m") as server:
        assert ask(server) == (3, 4.0)


def test_removing_the_newest_goes_back_and_removing_all_is_not_found(
    models: Path, tmp_path: Path
) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    served(models, base, "half_plus_three", 2)
    with running_server(base, "m") as server:
        health = health_pb2_grpc.HealthStub(server.channel)

        def healthy() -> bool:
            status = health.Check(health_pb2.HealthCheckRequest()).status
            return status == health_pb2.HealthCheckResponse.SERVING

        assert ask(server) == (2, 4.0)
        (base / "2").unlink()
        eventually(lambda: ask(server) == (1, 3.0))
        assert healthy()
        # A base path that is gone changes nothing; one that is empty unloads all.
        base.rename(tmp_path / "away")
        eventually(lambda: "Could not find base path" in server.log())
        assert ask(server) == (1, 3.0)
        (tmp_path / "away" / "1").unlink()
        (tmp_path / "away").rename(base)
        eventually(lambda: not healthy())
        with pytest.raises(grpc.RpcError) as caught:
            ask(server)
        assert caught.value.details() == "Servable not found for request: Latest(m)"
        served(models, base, "half_plus_two", 1)
        eventually(healthy)
        assert ask(server) == (1, 3.0)


def test_the_server_waits_for_a_first_version_with_its_ports_closed(
    models: Path, tmp_path: Path
) -> None:
    base = tmp_path / "m"
    base.mkdir()
    with running_server(base, "m", wait=False) as server:
        warning = f"No versions of servable m found under base path {base}. Did you forget to name"
        eventually(lambda: server.log().count(warning) >= 2)
        with pytest.raises(OSError):
            http_call(server, "GET", "/v1/models/m")
        served(models, base, "half_plus_two", 1)
        await_ready(server)
        assert ask(server) == (1, 3.0)


def test_a_request_under_way_ends_before_its_version_is_unloaded(
    models: Path, tmp_path: Path
) -> None:
    base = served(models, tmp_path / "m", "kinds", 1)
    with running_server(base, "m") as server:
        slow = slow_request(server, seconds=10)
        future = predict_stub(server).Predict.future(slow, timeout=60)
        served(models, base, "half_plus_two", 2)
        eventually(lambda: statuses(server).get(2) == "AVAILABLE")
        assert not future.done(), "make the request slower"
        assert statuses(server)[1] == "UNLOADING"
        assert future.result().model_spec.version.value == 1
        eventually(lambda: statuses(server)[1] == "END")
