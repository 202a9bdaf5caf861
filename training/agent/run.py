"""The agent of a training Job: fetch code and data, run the boot file, publish its model."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from store.client import from_environment
from store.errors import StoreError
from store.models import newest_of_run
from store.patience import Patience
from store.transfers import fetch_folder
from store.urls import S3Url
from training.agent.boot_process import BootProcess
from training.agent.flags import agent_parser, run_parameters
from training.agent.job_log import JobLog
from training.agent.membership import Membership
from training.agent.publishing import Provenance, check_model, publish
from training.agent.rounds import Rounds
from training.agent.workers import Workers
from training.command_line import EXIT_FAILED, TrainingError
from training.folders import CHECKPOINT_FOLDER, MODEL_FOLDER
from training.metrics import read_metrics
from training.mirror.upload_mirror import UploadMirror

LOG_FILE = "log.txt"
EXIT_TERMINATED = 128 + signal.SIGTERM
# With the boot file's grace below the 2 s in which the agent promises to be gone.
_LAST_UPLOAD_SECONDS = 0.8


class _Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no handler of ordinary errors swallows it."""


@dataclass
class _Phases:
    """Wall-clock seconds of each phase."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def end(self, name: str) -> float:
        now = time.monotonic()
        self.seconds[name] = round(now - self._began, 3)
        self._began = now
        return self.seconds[name]


@dataclass(frozen=True)
class _Folders:
    """Where code and data are fetched to, and what the boot file writes to."""

    code: Path
    data: Path
    train: Path


class Agent:
    """One run of a training Job. `run` is called once, in the main thread."""

    def __init__(self, options: argparse.Namespace, boot_arguments: Sequence[str]) -> None:
        self._options = options
        self._boot_arguments = list(boot_arguments)
        self._code_url = S3Url.parse(options.code_url, "--code_url")
        self._data_url = S3Url.parse(options.data_url, "dlstack:dataDir")
        self._train_url = S3Url.parse(options.train_url, "--train_url")
        self._model_url = S3Url.parse(options.model_url, "--model_url")
        self._membership = Membership.of(options.workers, options.chief)
        self._index = self._membership.index if self._membership else 0
        self._client = from_environment()
        self._patience = Patience(options.store_seconds, lambda line: print(line, flush=True))
        self._workers: Workers | None = None
        self._rounds: Rounds | None = None
        self._mirror: UploadMirror | None = None

    def run(self) -> int:
        """Return the process's exit status: the boot file's, or 0 when its model is published."""
        options = self._options
        # All of it is read: what is served next is worth it, and this is the only one who can mend.
        found = self._patience.ask(
            lambda: newest_of_run(self._client, self._model_url, options.run_hash, thoroughly=True)
        )
        for damage in found.damaged:
            print(f"A published version is damaged. {damage}", flush=True)
        if found.version is not None and found.manifest is not None:
            print(
                f"Run {options.run_hash[:12]} is already published as version "
                f"{found.version.number}: {found.version.url}",
                flush=True,
            )
            # A bar may have been raised since.
            self._check_bars(found.manifest.metrics)
            return 0
        if options.work_dir:
            Path(options.work_dir).mkdir(parents=True, exist_ok=True)
        work_dir = Path(tempfile.mkdtemp(prefix="dlstack-", dir=options.work_dir))
        try:
            return self._run_in(_Folders(*(work_dir / name for name in ("code", "data", "train"))))
        except _Terminated:
            # A second signal must not interrupt the clean-up.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._stop_at_once()
            raise
        finally:
            if self._workers is not None:
                self._workers.close()
            shutil.rmtree(work_dir, ignore_errors=True)

    def _run_in(self, folders: _Folders) -> int:
        """Train and publish with a mirror that uploads the log, an error's line included."""
        chief = self._index == 0
        folders.train.mkdir()
        mirror = UploadMirror(
            self._client,
            folders.train,
            # The chief's checkpoints and log are the run's.
            self._train_url if chief else self._train_url / f"workers/{self._index}",
            # Published under its version instead.
            exclude=frozenset({MODEL_FOLDER}),
            on_failure=self._stop_training,
        )
        # A train_url that can't be used is known now rather than after the training.
        names = {CHECKPOINT_FOLDER, LOG_FILE} if chief else {LOG_FILE}
        earlier = self._patience.ask(lambda: mirror.fetch(names))
        log = JobLog(folders.train / LOG_FILE)
        if earlier:
            log.line("Going on with what an earlier attempt at this run left")
        mirror.start()
        # Not before: what has not started can't be finished when SIGTERM comes.
        self._mirror = mirror
        try:
            if self._membership is not None:
                self._workers = Workers(
                    self._membership,
                    run_hash=self._options.run_hash,
                    on_lost=self._stop_training,
                    is_published=self._is_published,
                    join_seconds=self._options.join_seconds,
                )
            status = self._train_and_publish(log, mirror, folders)
        except (TrainingError, StoreError) as error:
            log.error(str(error))
            if self._workers is not None:
                self._workers.tell_failure(EXIT_FAILED)
            mirror.finish()
            return EXIT_FAILED
        mirror.finish()
        return status

    def _train_and_publish(self, log: JobLog, mirror: UploadMirror, folders: _Folders) -> int:
        boot_file = self._options.boot_file
        phases = _Phases()
        fetched = self._fetch("dlstack:codeDir", self._code_url, folders.code)
        fetched += self._fetch("dlstack:dataDir", self._data_url, folders.data)
        log.line(f"Fetched code and data, {fetched / 1e6:.1f} MB, in {phases.end('fetch'):.1f} s")

        self._rounds = self._rounds_of(log, mirror, folders)
        status = self._rounds.run()
        log.line(f"Ran boot file '{boot_file}' in {phases.end('train'):.1f} s")
        if status != 0:
            log.line(f"boot file '{boot_file}' exited with status {status}")
            # To Kubernetes it means that the pod was told to end, and is to be started again.
            return EXIT_FAILED if status == EXIT_TERMINATED else status

        if self._index > 0:
            log.line(f"Worker {self._index} is done; worker 0 has published the model")
            return 0
        version, url = self._publish(folders.train, phases.seconds)
        log.line(f"Published version {version} in {phases.end('publish'):.1f} s: {url}")
        if self._workers is not None:
            self._workers.tell_published()
        return 0

    def _fetch(self, key: str, url: S3Url, target: Path) -> int:
        """Return how many bytes were fetched."""
        objects = self._patience.ask(lambda: fetch_folder(self._client, url, target))
        if not objects:
            raise TrainingError(
                f"{key} has no files: '{url}' is empty. 'pulumi up --refresh' uploads a local "
                "folder again; a URL needs files there."
            )
        return sum(entry.size for entry in objects)

    def _rounds_of(self, log: JobLog, mirror: UploadMirror, folders: _Folders) -> Rounds:
        urls = [f"--data_url={folders.data}", f"--train_url={folders.train}"]

        def start(environment: Mapping[str, str]) -> BootProcess:
            arguments = [*urls, *self._boot_arguments]
            return BootProcess(folders.code, self._options.boot_file, arguments, log, environment)

        return Rounds(
            start,
            mirror.check,
            self._workers,
            publishes=self._index == 0,
            model_dir=folders.train / MODEL_FOLDER,
            log=log,
        )

    def _publish(self, train_dir: Path, seconds: Mapping[str, float]) -> tuple[int, S3Url]:
        """Publish what the boot file left, if its metrics pass; return the version and its URL."""
        options = self._options
        model_dir = check_model(train_dir, options.boot_file)
        metrics = read_metrics(train_dir, options.boot_file)
        self._check_bars(metrics)
        provenance = Provenance(
            run_hash=options.run_hash,
            metrics=metrics,
            parameters=run_parameters(self._boot_arguments),
            details={
                "boot_file": options.boot_file,
                **({"commit": options.commit} if options.commit else {}),
                **options.provenance,
            },
            seconds=seconds,
            sources=options.sources,
        )
        return publish(self._client, model_dir, self._model_url, provenance)

    def _is_published(self) -> bool:
        found = newest_of_run(self._client, self._model_url, self._options.run_hash)
        return found.version is not None

    def _check_bars(self, metrics: Mapping[str, float]) -> None:
        """Raise TrainingError when a metric is missing or misses its bar."""
        for bar in self._options.bars:
            bar.check(metrics, self._options.boot_file)

    def _stop_training(self) -> None:
        """End the boot file: its output can't be kept, or another worker is gone."""
        if self._rounds is not None:
            self._rounds.stop()

    def _stop_at_once(self) -> None:
        if self._workers is not None:
            self._workers.close()
        self._stop_training()
        if self._mirror is not None:
            try:
                self._mirror.finish(timeout=_LAST_UPLOAD_SECONDS)
            except TrainingError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the agent with the flags of a command line; return the exit status."""
    signal.signal(signal.SIGTERM, _raise_terminated)
    listed = list(arguments)
    end = listed.index("--") if "--" in listed else len(listed)
    try:
        return Agent(agent_parser().parse_args(listed[:end]), listed[end + 1 :]).run()
    except _Terminated:
        # Threads may hang in the network; they must not hold up the end.
        os._exit(EXIT_TERMINATED)


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated
