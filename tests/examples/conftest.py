"""The examples, each made as its page says: data generated, boot file run, model served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.examples.pages import EXAMPLES, generate
from tests.serving.gateway.running import Gateway, running_gateway
from tests.serving_fixtures import ROOT, ModelServer, running_server


@dataclass
class Trained:
    """An example's model, served, and a gateway beside it."""

    name: str
    data: Path
    run: Path
    server: ModelServer
    gateway: Gateway

    @property
    def metrics(self) -> dict[str, float]:
        found: dict[str, float] = json.loads((self.run / "metrics.json").read_text())
        return found

    def client(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the client's command, told nothing but where the server is."""
        return subprocess.run(
            [
                *(sys.executable, "-m", "client", *map(str, words)),
                *("--host=127.0.0.1", f"--port={self.server.grpc_port}", f"--model={self.name}"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    def predictions(self, *words: str | Path) -> list[dict[str, Any]]:
        """Return the answers of the client's `predict`, none of which may have failed."""
        done = self.client("predict", "--json", *words)
        assert done.returncode == 0, done.stderr
        answers: list[dict[str, Any]] = json.loads(done.stdout)["predictions"]
        return answers


def train(name: str, data: Path, output: Path) -> None:
    """Run an example's boot file as the agent does: in its folder, with our packages."""
    output.mkdir()
    path = [str(ROOT)]
    if (needed := EXAMPLES / name / "requirements.txt").exists():
        path.append(str(output.parent / "packages"))
        words = ("pip", "install", "--quiet", f"--target={path[-1]}", f"--requirement={needed}")
        subprocess.run([sys.executable, "-m", *words], check=True)
    done = subprocess.run(
        [sys.executable, "train.py", f"--data_url={data}", f"--train_url={output}"],
        cwd=EXAMPLES / name,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]


OfExample = Callable[[str], Trained]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfExample]:
    """Name of an example -> its model; made when it is first asked for."""
    known: dict[str, Trained] = {}
    with ExitStack() as stack:

        def get(name: str) -> Trained:
            if name not in known:
                folder = tmp_path_factory.mktemp(name)
                data, run, models = folder / "data", folder / "run", folder / "models"
                generate(name, data)
                train(name, data, run)
                models.mkdir()
                (run / "model").rename(models / "1")
                server = stack.enter_context(running_server(models, name))
                gateway = stack.enter_context(running_gateway(server.rest_url, models, model=name))
                known[name] = Trained(name, data, run, server, gateway)
            return known[name]

        yield get
