"""Where a run has its files on the pod's disk."""

from dataclasses import dataclass
from pathlib import Path

from training.agent.disk import NOTE_FILE
from training.agent.job_log import LOG_FILE
from training.agent.run_record import RECORD_FILE


@dataclass(frozen=True)
class RunFolders:
    """The folders and files of a run below one folder."""

    work: Path

    @property
    def code(self) -> Path:
        """What code is fetched to."""
        return self.work / "code"

    @property
    def data(self) -> Path:
        """What data is fetched to."""
        return self.work / "data"

    @property
    def packages(self) -> Path:
        """What `requirements.txt` asks for is installed in."""
        return self.work / "packages"

    @property
    def train(self) -> Path:
        """What the boot file writes to. Nothing of the agent's own is in it: many a boot file
        empties --train_url when it begins."""
        return self.work / "train"

    @property
    def log(self) -> Path:
        """The log that is kept."""
        return self.work / LOG_FILE

    @property
    def record(self) -> Path:
        """The record of the run."""
        return self.work / RECORD_FILE

    @property
    def note(self) -> Path:
        """The note of a disk that is nearly full."""
        return self.work / NOTE_FILE
