"""The command as a process: streams that are closed or full, signals, odd names, proxies."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving_fixtures import ModelServer

from ..conftest import digit

ROOT = Path(__file__).resolve().parents[3]
CLIENT = [sys.executable, "-m", "client"]


@pytest.fixture
def environment(mnist: ModelServer) -> dict[str, str]:
    """What leads a client to the MNIST-like model over gRPC."""
    return os.environ | {
        "DLSTACK_HOST": "127.0.0.1",
        "DLSTACK_PORT": str(mnist.grpc_port),
        "DLSTACK_MODEL": "mnist",
    }


@pytest.fixture
def three(tmp_path: Path) -> str:
    """Return the path of a picture of a three."""
    Image.fromarray(np.uint8(digit(3) * 255).reshape(28, 28)).save(tmp_path / "3.png")
    return str(tmp_path / "3.png")


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([*CLIENT, *arguments], cwd=ROOT, stderr=subprocess.PIPE, **options)


def shell(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command in which `client` stands for the client."""
    function = f'client() {{ "{sys.executable}" -m client "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", function + command], cwd=ROOT, capture_output=True, env=environment
    )


def test_a_name_that_is_no_text_is_printed_as_it_is(
    environment: dict[str, str], three: str
) -> None:
    name = os.fsencode(three).replace(b"3.png", b"\xff.png")
    os.rename(three, name)
    done = process("predict", os.fsdecode(name), env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, name + b": 3 99.70%\n", b"")


def test_a_label_that_the_terminal_has_no_letters_for_is_escaped(
    environment: dict[str, str], three: str, tmp_path: Path
) -> None:
    (tmp_path / "labels").write_text("3:dreißig\n", encoding="utf-8")
    done = process(
        "predict", three, f"--labels={tmp_path / 'labels'}",
        env=environment | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{three}: 3 (drei\\xdfig) 99.70%\n".encode())


def test_there_is_no_traceback_and_nothing_of_grpcs_own_log(held_port: int) -> None:
    done = process("status", "--host=127.0.0.1", "--model=m", f"--port={held_port}")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_has_gone_needs_no_word(environment: dict[str, str], three: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = process("predict", three, env=environment, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("client predict {} > /dev/full", b"standard output (No space left on device)"),
        ("client predict --json {} > /dev/full", b"standard output (No space left on device)"),
        ("client predict {} >&-", b"standard output (it is closed)"),
        ("client predict - <&-", b"Standard input is closed."),
    ],
)
def test_a_stream_that_is_full_or_closed_is_said(
    environment: dict[str, str], three: str, command: str, said: bytes
) -> None:
    done = shell(command.format(three), environment)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert said in done.stderr


def test_what_cannot_be_complained_of_does_not_go_among_the_answers(
    environment: dict[str, str], three: str
) -> None:
    done = shell(f"client predict missing.png {three} 2>&-", environment)
    assert (done.returncode, done.stdout) == (1, f"{three}: 3 99.70%\n".encode())


def test_a_pipe_may_stand_for_a_file(environment: dict[str, str], three: str) -> None:
    done = shell(f"client predict <(cat {three}) | cut -d: -f2", environment)
    assert (done.stdout, done.stderr) == (b" 3 99.70%\n", b"")


def test_a_large_picture_comes_without_pillows_warning(
    environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000)).save(path)
    arguments = ["--signature=serving_default", "--scale=0..1"]
    done = process("predict", str(path), *arguments, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_proxies_of_the_environment_are_not_asked_for_this_machine(
    environment: dict[str, str], mnist: ModelServer, transport: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTPS_PROXY")
        done = process(
            "status",
            f"--transport={transport}",
            f"--port={mnist.grpc_port if transport == 'grpc' else mnist.rest_port}",
            env=environment | dict.fromkeys(names, url),
        )
        assert (done.returncode, done.stdout) == (0, b"mnist version 3: AVAILABLE\n")
        assert not select.select([proxy], [], [], 0)[0]


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_an_interrupt_ends_it_at_once_without_a_word(transport: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = ["status", "--host=127.0.0.1", "--model=m", f"--port={silent.getsockname()[1]}"]
        with subprocess.Popen(
            [*CLIENT, *command, f"--transport={transport}", "--timeout=100"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:
            assert select.select([silent], [], [], 60)[0]  # It waits for an answer now.
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, b"", b"")
