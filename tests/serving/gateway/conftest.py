"""One server of models of every kind, and a gateway for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serving.gateway import model_kinds
from tests.serving.gateway.running import METRICS, Gateway, running_gateway
from tests.serving_fixtures import ModelServer, running_server

OfModel = Callable[[str], Gateway]


@pytest.fixture(scope="session")
def kinds_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of `model_kinds` below a folder each."""
    folder = tmp_path_factory.mktemp("kinds")
    model_kinds.export(folder)
    return folder


@pytest.fixture(scope="session")
def kinds_server(kinds_folder: Path) -> Iterator[ModelServer]:
    """A server of all of them."""
    flags = [f"--model_config_file={model_kinds.config(kinds_folder)}"]
    with running_server(kinds_folder / "digits", "digits", flags) as server:
        yield server


@pytest.fixture(scope="session")
def of_model(
    kinds_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OfModel]:
    """Model's name -> its gateway."""
    manifests = tmp_path_factory.mktemp("kinds-manifests")
    folder = manifests / str(model_kinds.VERSION)
    folder.mkdir()
    manifest = {"metrics": METRICS, "run_hash": "ab" * 32, "files": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    running: dict[str, Gateway] = {}
    with ExitStack() as stack:

        def get(name: str) -> Gateway:
            if name not in running:
                started = running_gateway(kinds_server.rest_url, manifests, model=name)
                running[name] = stack.enter_context(started)
            return running[name]

        yield get
