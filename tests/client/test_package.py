"""The client as an installed package: a wheel of its own in a fresh environment, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving_fixtures import ModelServer

from .conftest import digit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of an environment that has the client and what it asks for."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, str(ROOT / "client")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(command: list[str | Path], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,  # Not in the repository, whose `client` would be found.
        env={"PATH": os.defpath} | environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_command_answers(
    installed: Path, mnist: ModelServer, tmp_path: Path, transport: str
) -> None:
    Image.fromarray(np.uint8(digit(6) * 255).reshape(28, 28)).save(tmp_path / "6.png")
    port = mnist.grpc_port if transport == "grpc" else mnist.rest_port
    where = {"DLSTACK_HOST": "127.0.0.1", "DLSTACK_PORT": str(port), "DLSTACK_MODEL": "mnist"}
    flag = f"--transport={transport}"
    assert (
        run([installed / "dlstack", "predict", "6.png", flag], tmp_path, **where)
        == "6.png: 6 99.70%\n"
    )
    module = [installed / "python", "-m", "dlstack_client"]
    assert run([*module, "status", flag], tmp_path, **where) == "mnist version 3: AVAILABLE\n"
    answered = json.loads(
        run(
            [*module, "bench", flag, "--requests=20", "--duration=100", "--json"], tmp_path, **where
        )
    )
    assert (answered["requests"], answered["errors"]) == (20, {})


@pytest.mark.slow
def test_the_command_calls_itself_by_its_name(installed: Path, tmp_path: Path) -> None:
    assert run([installed / "dlstack", "--help"], tmp_path).startswith("usage: dlstack ")


@pytest.mark.slow
def test_nothing_is_installed_but_a_few_packages(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(
        run([installed / "pip", "--disable-pip-version-check", "list", "--format=json"], tmp_path)
    )
    assert {entry["name"] for entry in listed} - {"pip", "setuptools"} == {
        "dlstack-client",
        "grpcio",
        "numpy",
        "pillow",
        "protobuf",
        "typing_extensions",  # grpcio's.
    }


@pytest.mark.slow
def test_the_library_has_its_names_and_types(installed: Path, tmp_path: Path) -> None:
    code = (
        "import dlstack_client, pathlib; "
        "print(*dlstack_client.__all__); "
        "assert pathlib.Path(dlstack_client.__file__).with_name('py.typed').exists()"
    )
    import client

    assert run([installed / "python", "-c", code], tmp_path).split() == client.__all__


def test_the_package_needs_what_the_folder_lists_and_the_python_that_is_tested() -> None:
    settings = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())
    assert "dependencies" in settings["project"]["dynamic"]
    assert settings["tool"]["hatch"]["metadata"]["hooks"]["requirements_txt"]["files"] == [
        "requirements.txt"
    ]
    least = settings["project"]["requires-python"].removeprefix(">=").split(".")
    assert sys.version_info >= tuple(map(int, least))
