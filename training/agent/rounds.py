"""The boot file from its start to its end: once, or in as many rounds as several workers need."""

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from training.agent import proxies
from training.agent.boot_process import BootProcess
from training.agent.job_log import JobLog
from training.agent.workers import Workers
from training.command_line import EXIT_WORKER_LOST

# Of a boot file that is ended since another worker is lost: it can save nothing without that one.
_LOST_GRACE_SECONDS = 0.5
# A boot file may fail because another worker is lost. Seconds to wait for a lost-worker notice, by
# the boot file's exit status: long where TensorFlow says that a worker is lost, or aborts.
_NOTICE_SECONDS = {EXIT_WORKER_LOST: 60.0, 128 + signal.SIGABRT: 15.0}
_OTHER_NOTICE_SECONDS = 5.0


class Rounds:
    """Runs the boot file. With several workers, all start theirs together, and end it together.

    Args:
        start: starts the boot file; takes variables for its environment.
        check: raises TrainingError when what the boot file writes can't be kept.
        workers: the others; None when there are none.
        publishes: whether this worker publishes the model.
        model_dir: what a boot file exports, deleted between two rounds.
    """

    def __init__(
        self,
        start: Callable[[Mapping[str, str]], BootProcess],
        check: Callable[[], None],
        workers: Workers | None,
        *,
        publishes: bool,
        model_dir: Path,
        log: JobLog,
    ) -> None:
        self._start = start
        self._check = check
        self._workers = workers
        self._publishes = publishes
        self._model_dir = model_dir
        self._log = log
        self._boot: BootProcess | None = None
        self.cut_at: float | None = None
        """When the last boot file was killed (`BootProcess.cut_at`); None: it ended by itself."""

    def run(self) -> int:
        """Run the boot file to its end and return its exit status, or 128 + N after signal N.

        Several workers run their boot files at the same time, and again when one of them was lost.
        A worker that doesn't publish returns 0 when worker 0 has published.
        """
        workers = self._workers
        if workers is None:
            return self._run_boot_file({})
        while True:
            config = workers.join()
            if config is None:
                return 0
            shutil.rmtree(self._model_dir, ignore_errors=True)
            status = self._run_boot_file(
                {"TF_CONFIG": config, **proxies.passing_by(os.environ, config)}
            )
            if workers.lost is None and status == 0:
                if self._publishes:
                    workers.finish_round()
                    return 0
                if workers.await_published():
                    return 0
            elif not workers.await_loss(_NOTICE_SECONDS.get(status, _OTHER_NOTICE_SECONDS)):
                workers.tell_failure(status)
                return status
            self._log.line(
                f"{workers.lost}. Going on from the last checkpoint when all are there again"
            )

    def stop(self, grace: float = _LOST_GRACE_SECONDS) -> None:
        """End the boot file that runs, if one does: SIGTERM, and SIGKILL after `grace` seconds."""
        if boot := self._boot:
            boot.terminate(grace)
            self.cut_at = boot.cut_at

    def _run_boot_file(self, environment: Mapping[str, str]) -> int:
        self._check()
        self._boot = self._start(environment)
        # A worker that was lost before this line has stopped nothing.
        if self._workers is not None and self._workers.lost:
            self.stop()
        status = self._boot.wait()
        self.cut_at = self._boot.cut_at
        # Its process number may be another's by the time that somebody wants to end it.
        self._boot = None
        self._check()
        return status
