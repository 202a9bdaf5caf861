"""What importing the client, or a part of it, brings into the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_no_part_of_the_client_imports_tensorflow() -> None:
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "client").rglob("*.py")
        if path.stem != "__main__"
    )
    assert "client._transports.grpc" in modules
    run(
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "assert not {'tensorflow', 'tensorflow_serving', 'pulumi'} & set(sys.modules)\n"
    )


def test_importing_the_client_costs_neither_numpy_nor_grpc() -> None:
    run(
        "import sys, client._command.cli\n"
        "costly = {'numpy', 'PIL', 'grpc', 'google.protobuf', 'http.client', 'asyncio', 'random'}\n"
        "assert not costly & set(sys.modules)\n"
    )


def test_rest_costs_no_grpc() -> None:
    run(
        "import sys\n"
        "from client import Client\n"
        "Client('127.0.0.1', 'mnist', transport='rest').close()\n"
        "assert not {'grpc', 'google.protobuf'} & set(sys.modules)\n"
    )
