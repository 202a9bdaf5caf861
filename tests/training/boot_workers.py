"""Boot files of tests, alone or as two workers that find each other by TF_CONFIG."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.training.conftest import ROOT
from training.tf_config import format_tf_config


def start(
    output: Path, *flags: str, config: str = "", boot: str = "trainer_boot"
) -> "subprocess.Popen[str]":
    """Start a module of tests/training, as the boot file of one worker."""
    output.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.training.{boot}", str(output), *flags],
        cwd=ROOT,
        env={**os.environ, "TF_CONFIG": config},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(processes: Sequence["subprocess.Popen[str]"]) -> list[tuple[dict[str, Any], str]]:
    """Return what each printed as JSON, and all of its output."""
    found = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=150)
            assert process.returncode == 0, output + errors
            found.append((json.loads(output.splitlines()[-1]), output))
    finally:
        for process in processes:
            with process:
                process.kill()
    return found


def end(process: "subprocess.Popen[str]") -> tuple[dict[str, Any], str]:
    return ends([process])[0]


def interrupted(processes: Sequence["subprocess.Popen[str]"]) -> None:
    """Wait until the first has failed, then kill the others."""
    with processes[0] as first:
        output, errors = first.communicate(timeout=150)
        assert "Interrupted" in errors, output + errors
    for process in processes[1:]:
        with process:
            process.kill()


def start_two(
    folder: Path, *flags: str, boot: str = "trainer_boot"
) -> list["subprocess.Popen[str]"]:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    configs = [format_tf_config(addresses, index) for index in range(2)]
    return [
        start(folder / f"worker{index}", *flags, config=configs[index], boot=boot)
        for index in range(2)
    ]
