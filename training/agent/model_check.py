"""Before a model is published, another process runs each of its signatures: `serving.check`.

A model may crash what runs it, and TensorFlow is nothing for the agent's own process.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.command_line import TrainingError

SETTINGS_FILE = "model-check.json"
"""The values of `ModelCheck` beside the archive: they may change while a Job runs."""

_MODULE = "serving.check"
_REFUSED, _ERROR = 1, "error: "
"""Exit status, and how the line begins that says why: an uncaught exception has the same status."""
_CANT_TELL = 3
"""Exit status: its output says why."""
_MARGIN_SECONDS = 10.0
"""What the command may take beyond its own limit, before it is killed."""
_KILLED: dict[int, str] = {
    signal.SIGKILL: "was killed, most often for its use of memory. Choose a larger "
    "dlstack:flavour, or make the model smaller",
    signal.SIGSEGV: "crashed TensorFlow (SIGSEGV), as it would crash every server. Look for an "
    "operation that gets values which it does not expect",
    signal.SIGABRT: "ended TensorFlow (SIGABRT), as it would end every server. Look for an "
    "operation that gets values which it does not expect",
}


@dataclass(frozen=True)
class ModelCheck:
    """How models are checked."""

    package: Path
    """A folder or an archive that `serving` is imported from."""
    seconds: float = 600.0
    """A model that takes longer is refused."""
    op_libraries: str = ""
    """As `dlstack:servingOpLibraries` names them."""
    engine: str = "embedded"
    """As `dlstack:servingEngine` names it."""

    @classmethod
    def of(cls, folder: Path) -> "ModelCheck":
        """Return how models are checked with what a stack has put into a folder."""
        return cls(folder / "serving.zip", **json.loads((folder / SETTINGS_FILE).read_bytes()))

    def run(self, model_dir: Path, say: Callable[[str], None]) -> None:
        """Pass on what the command says of a model, line by line.

        Raises:
            TrainingError: a signature never answers, or the model ends the process that runs it.
        """
        command = [
            # Nothing of the folder that this process happens to be in.
            *(sys.executable, "-P", "-m", _MODULE, str(model_dir), f"--seconds={self.seconds}"),
            *(f"--custom_op_libraries={self.op_libraries}", f"--engine={self.engine}"),
        ]
        paths = [str(self.package), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.seconds + _MARGIN_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise TrainingError(
                f"The exported model has not answered within {self.seconds:.0f} s, so it is not "
                "published. Look for a loop in it that does not end, or let one request do less."
            ) from error
        for line in done.stdout.splitlines():
            say(line)
        if done.returncode < 0:
            number = -done.returncode
            ended = _KILLED.get(number, f"was ended by signal {number}")
            raise TrainingError(
                "The process that ran the exported model to try it "
                f"{ended}. It is not published. {_last_line(done.stderr)}".rstrip()
            )
        # Not the last line for sure: another signature may print meanwhile.
        problems = [line for line in done.stderr.splitlines() if line.startswith(_ERROR)]
        if done.returncode == _REFUSED and problems:
            raise TrainingError(
                f"The exported model is not published. {problems[-1][len(_ERROR) :]}"
            )
        if done.returncode not in (0, _CANT_TELL) or (done.returncode and not done.stdout):
            # It has no engine, or is of another version: no reason to lose a training.
            say(f"The model is not checked: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
