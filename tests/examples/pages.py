"""The examples' folders, and what their pages say to type."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.serving_fixtures import ROOT

EXAMPLES = ROOT / "examples"
NAMES = sorted(file.parent.name for file in EXAMPLES.glob("*/train.py"))


def generate(name: str, folder: Path, *arguments: str) -> None:
    """Make an example's data."""
    script = EXAMPLES / name / "generate_data.py"
    done = subprocess.run(
        [sys.executable, str(script), f"--target_dir={folder}", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def commands(name: str) -> list[str]:
    """Return the lines of shell on an example's page."""
    page = (EXAMPLES / name / "README.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [line.partition("   #")[0].rstrip() for block in blocks for line in block.splitlines()]


def configuration(name: str) -> dict[str, str]:
    """Return key -> value of what an example's page says to configure."""
    set_ = r"pulumi config set (?:--path )?dlstack:(\S+) (\S+)$"
    found = (re.fullmatch(set_, line) for line in commands(name))
    return {match[1]: match[2] for match in found if match}
