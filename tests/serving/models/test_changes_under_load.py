"""Whatever order versions, broken ones and policies come in, no request without a version fails."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from tests.serving.asking import statuses
from tests.serving.conftest import served
from tests.serving.models.load import Load
from tests.serving.models.test_many_models import listed, model, replace
from tests.serving.models.test_versions import broken
from tests.serving_fixtures import ModelServer, running_server
from tests.waiting import eventually

POLICIES = (
    "",
    "model_version_policy { all {} }",
    "model_version_policy { latest { num_versions: 2 } }",
    "model_version_policy { specific { versions: %d } }",
)


class Changes:
    """Makes random changes that leave at least one sound version wanted."""

    def __init__(self, models: Path, base: Path, seed: int) -> None:
        self._models = models
        self._base = base
        self._random = random.Random(seed)
        self.sound = [1]
        self._broken: list[int] = []
        self._newest = 1
        self._pinned = 0

    def add(self) -> None:
        self._newest += 1
        kind = self._random.choice(["half_plus_two", "half_plus_three"])
        served(self._models, self._base, kind, self._newest)
        self.sound.append(self._newest)

    def add_broken(self) -> None:
        self._newest += 1
        broken(self._base, self._newest)
        self._broken.append(self._newest)

    def remove_broken(self) -> None:
        if self._broken:
            shutil.rmtree(self._base / str(self._broken.pop(0)))

    def remove_oldest(self) -> None:
        if len(self.sound) > 2 and self.sound[0] != self._pinned:
            (self._base / str(self.sound.pop(0))).unlink()

    def change_policy(self, server: ModelServer) -> None:
        policy = self._random.choice(POLICIES)
        # Pinned before the server knows it, and let go after: a pinned version must stay.
        self._pinned = self.sound[-1]
        replace(server, model("m", self._base, policy % self._pinned if "%" in policy else policy))
        if "%" not in policy:
            self._pinned = 0

    def next(self, server: ModelServer) -> None:
        match self._random.randrange(8):
            case 0 | 1:
                self.add()
            case 2:
                self.add_broken()
            case 3:
                self.remove_broken()
            case 4 | 5:
                self.remove_oldest()
            case _:
                self.change_policy(server)
        # Some changes meet others half done, some do not.
        time.sleep(self._random.random())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("flags", [[], ["--enable_batching"]], ids=["alone", "batched"])
def test_random_changes_under_load_lose_no_request(
    models: Path, tmp_path: Path, flags: list[str]
) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    config = tmp_path / "models.config"
    config.write_text(listed(model("m", base)))
    flags = [
        *flags,
        f"--model_config_file={config}",
        "--max_num_load_retries=1",
        "--load_retry_interval_micros=100000",
    ]
    with running_server(base, "m", flags) as server:
        changes = Changes(models, base, seed=7)
        with Load(server) as load:
            for _ in range(40):
                changes.next(server)
            replace(server, model("m", base))
            changes.add()
            newest = changes.sound[-1]
            # All that were loaded on the way have gone, and nothing is stuck.
            eventually(
                lambda: {n for n, state in statuses(server).items() if state != "END"} == {newest},
            )
        assert load.failures == []
        assert load.addends <= {("grpc", 2.0), ("grpc", 3.0), ("rest", 2.0), ("rest", 3.0)}
        assert "internal error" not in server.log()
