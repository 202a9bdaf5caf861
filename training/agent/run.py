"""The agent of a training Job: fetch code and data, run the boot file, publish its model."""

import argparse
import json
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from training.agent.bars import Bar
from training.agent.boot_process import BootProcess, JobLog
from training.agent.publishing import (
    Provenance,
    check_model,
    find_published,
    publish,
)
from training.agent.workers import Membership, Workers
from training.command_line import (
    EXIT_FAILED,
    EXIT_WORKER_LOST,
    ArgumentParser,
    TrainingError,
    positive_float,
    positive_int,
)
from training.folders import CHECKPOINT_FOLDER, MODEL_FOLDER
from training.metrics import read_metrics
from training.mirror.upload_mirror import UploadMirror
from training.object_store import ObjectStore, S3Url

LOG_FILE = "log.txt"
EXIT_TERMINATED = 128 + signal.SIGTERM
# Together below the 2 s in which the agent promises to be gone.
_CHILD_GRACE_SECONDS = 0.5
_LAST_UPLOAD_SECONDS = 0.8
# A boot file may fail because another worker is lost. Seconds to wait for a lost-worker notice, by
# the boot file's exit status: long where TensorFlow says that a worker is lost, or aborts.
_NEWS_SECONDS = {EXIT_WORKER_LOST: 60.0, 128 + signal.SIGABRT: 15.0}
_OTHER_NEWS_SECONDS = 5.0


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


class Agent:
    """One run of a training Job. `run` is called once, in the main thread."""

    def __init__(self, options: argparse.Namespace, boot_arguments: Sequence[str]) -> None:
        self._options = options
        self._boot_arguments = list(boot_arguments)
        self._code_url = S3Url.parse(options.code_url, "code_url")
        self._data_url = S3Url.parse(options.data_url, "data_url")
        self._train_url = S3Url.parse(options.train_url, "train_url")
        self._model_url = S3Url.parse(options.model_url, "model_url")
        self._membership = Membership.of(options.workers, options.chief)
        self._index = self._membership.index if self._membership else 0
        self._store = ObjectStore()
        self._workers: Workers | None = None
        self._boot: BootProcess | None = None
        self._mirror: UploadMirror | None = None

    def run(self) -> int:
        """Return the process's exit status: the boot file's, or 0 when its model is published."""
        options = self._options
        published = self._find_published()
        if published is not None:
            version = published["version"]
            print(
                f"Run {options.run_hash[:12]} is already published as version {version}: "
                f"{self._model_url / str(version)}",
                flush=True,
            )
            # A bar may have been raised since.
            self._check_bars(published["metrics"])
            return 0
        if options.work_dir:
            Path(options.work_dir).mkdir(parents=True, exist_ok=True)
        work_dir = Path(tempfile.mkdtemp(prefix="dlstack-", dir=options.work_dir))
        try:
            return self._run_in(work_dir)
        except _Terminated:
            # A second signal must not interrupt the clean-up.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._stop_at_once()
            raise
        finally:
            if self._workers is not None:
                self._workers.close()
            shutil.rmtree(work_dir, ignore_errors=True)

    def _find_published(self) -> dict[str, Any] | None:
        return find_published(self._store, self._model_url, self._options.run_hash)

    def _run_in(self, work_dir: Path) -> int:
        code_dir, data_dir, train_dir = (work_dir / name for name in ("code", "data", "train"))
        chief = self._index == 0
        train_dir.mkdir()
        mirror = UploadMirror(
            self._store,
            train_dir,
            # The chief's checkpoints and log are the run's.
            self._train_url if chief else self._train_url / f"workers/{self._index}",
            # Published under its version instead.
            exclude=frozenset({MODEL_FOLDER}),
            on_failure=self._stop_training,
        )
        # A train_url that can't be used is known now rather than after the training.
        earlier = mirror.fetch({CHECKPOINT_FOLDER, LOG_FILE} if chief else {LOG_FILE})
        log = JobLog(train_dir / LOG_FILE)
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
                    is_published=lambda: self._find_published() is not None,
                    join_seconds=self._options.join_seconds,
                )
            status = self._train_and_publish(log, mirror, code_dir, data_dir, train_dir)
        except TrainingError as error:
            log.error(str(error))
            if self._workers is not None:
                self._workers.tell_failure(EXIT_FAILED)
            mirror.finish()
            return EXIT_FAILED
        mirror.finish()
        return status

    def _train_and_publish(
        self, log: JobLog, mirror: UploadMirror, code_dir: Path, data_dir: Path, train_dir: Path
    ) -> int:
        options = self._options
        phases = _Phases()
        fetched = self._fetch("code_url", self._code_url, code_dir)
        fetched += self._fetch("data_url", self._data_url, data_dir)
        log.line(f"Fetched code and data, {fetched / 1e6:.1f} MB, in {phases.end('fetch'):.1f} s")

        arguments = [f"--data_url={data_dir}", f"--train_url={train_dir}", *self._boot_arguments]
        status = self._train(log, mirror, code_dir, train_dir, arguments)
        log.line(f"Ran boot file '{options.boot_file}' in {phases.end('train'):.1f} s")
        if status != 0:
            log.line(f"boot file '{options.boot_file}' exited with status {status}")
            # To Kubernetes it means that the pod was told to end, and is to be started again.
            return EXIT_FAILED if status == EXIT_TERMINATED else status

        if self._index > 0:
            log.line(f"Worker {self._index} is done; worker 0 has published the model")
            return 0

        model_dir = check_model(train_dir, options.boot_file)
        metrics = read_metrics(train_dir, options.boot_file)
        self._check_bars(metrics)
        version, url = publish(
            self._store,
            model_dir,
            self._model_url,
            Provenance(
                run_hash=options.run_hash,
                metrics=metrics,
                parameters=run_parameters(self._boot_arguments),
                details={
                    "boot_file": options.boot_file,
                    **({"commit": options.commit} if options.commit else {}),
                    **options.provenance,
                },
                seconds=phases.seconds,
            ),
        )
        log.line(f"Published version {version} in {phases.end('publish'):.1f} s: {url}")
        if self._workers is not None:
            self._workers.tell_published()
        return 0

    def _train(
        self,
        log: JobLog,
        mirror: UploadMirror,
        code_dir: Path,
        train_dir: Path,
        arguments: Sequence[str],
    ) -> int:
        """Run the boot file to its end and return its exit status, or 128 + N after signal N.

        Several workers run their boot files at the same time, and again when one of them was lost.
        Workers that don't publish return when worker 0 has published.
        """
        workers = self._workers
        if workers is None:
            return self._run_boot_file(log, mirror, code_dir, arguments, {})
        while True:
            config = workers.join()
            if config is None:
                return 0
            # What a round before has exported.
            shutil.rmtree(train_dir / MODEL_FOLDER, ignore_errors=True)
            status = self._run_boot_file(log, mirror, code_dir, arguments, {"TF_CONFIG": config})
            if workers.lost is None and status == 0:
                if self._index == 0:
                    workers.finish_round()
                    return 0
                if workers.await_published():
                    return 0
            elif not workers.await_loss(_NEWS_SECONDS.get(status, _OTHER_NEWS_SECONDS)):
                workers.tell_failure(status)
                return status
            log.line(f"{workers.lost}. Going on from the last checkpoint when all are there again")

    def _run_boot_file(
        self,
        log: JobLog,
        mirror: UploadMirror,
        code_dir: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
    ) -> int:
        mirror.check()
        self._boot = BootProcess(code_dir, self._options.boot_file, arguments, log, environment)
        # Too early for it to be ended by `_stop_training`.
        if self._workers is not None and self._workers.lost:
            self._stop_training()
        status = self._boot.wait()
        # Its number may be another process's by the time that somebody wants to end it.
        self._boot = None
        mirror.check()
        return status

    def _check_bars(self, metrics: Mapping[str, float]) -> None:
        """Raise TrainingError when a metric is missing or misses its bar."""
        for bar in self._options.bars:
            bar.check(metrics, self._options.boot_file)

    def _fetch(self, flag: str, url: S3Url, target: Path) -> int:
        """Return how many bytes were fetched."""
        objects = self._store.fetch_folder(url, target)
        if not objects:
            raise TrainingError(
                f"--{flag}='{url}' holds no files. Upload them there, or correct the URL."
            )
        return sum(entry.size for entry in objects)

    def _stop_training(self) -> None:
        """End the boot file: its output can't be kept, or another worker is gone."""
        if boot := self._boot:
            boot.terminate(_CHILD_GRACE_SECONDS)

    def _stop_at_once(self) -> None:
        if self._workers is not None:
            self._workers.close()
        if self._boot is not None:
            self._boot.terminate(_CHILD_GRACE_SECONDS)
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
        return Agent(_parser().parse_args(listed[:end]), listed[end + 1 :]).run()
    except _Terminated:
        # Threads may hang in the network; they must not hold up the end.
        os._exit(EXIT_TERMINATED)


def run_parameters(arguments: Sequence[str]) -> dict[str, str]:
    """Return name -> value of `--name=value`, `--name value` and `--name` (value 'true')."""
    parameters: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--"):
            name, given, value = argument[2:].partition("=")
            parameters[name] = value if given else "true"
        elif name:
            parameters[name] = argument
    return parameters


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _run_hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 64 hexadecimal digits")
    return text


def _accuracy_bar(text: str) -> Bar:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return Bar("accuracy", value, f"--min_accuracy={value:g}")


def _lowest_bar(text: str) -> Bar:
    return Bar(*_name_and_number(text), f"--min_metric={text}")


def _highest_bar(text: str) -> Bar:
    return Bar(*_name_and_number(text), f"--max_metric={text}", highest=True)


def _name_and_number(text: str) -> tuple[str, float]:
    # The last colon: a metric may have one in its name.
    name, _, number = text.rpartition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 'f1:0.8'")
    return name, value


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python3 -m training",
        description="Run a boot file as a training job. What follows '--' goes to the boot file.",
    )
    add = parser.add_argument
    add("--code_url", required=True, help="s3:// folder of the code")
    add("--boot_file", required=True, help="the program to run, relative to the code folder")
    add("--data_url", required=True, help="s3:// folder of the data set")
    add("--train_url", required=True, help="s3:// folder for event files, checkpoints and the log")
    add("--model_url", required=True, help="s3:// folder below which versions are published")
    add("--run_hash", required=True, type=_run_hash, help="what identifies this run")
    bar = partial(add, action="append", dest="bars", default=[])
    pair, number = "NAME:NUMBER", "NUMBER"
    bar("--min_metric", type=_lowest_bar, metavar=pair, help="publish no model with less")
    bar("--max_metric", type=_highest_bar, metavar=pair, help="publish no model with more")
    bar("--min_accuracy", type=_accuracy_bar, metavar=number, help="--min_metric=accuracy:NUMBER")
    add("--workers", type=positive_int, default=1, help="how many train one model together")
    add("--chief", default="", metavar="HOST:PORT", help="where worker 0 listens for the others")
    add("--join_seconds", type=positive_float, default=600.0, help="wait so long for the others")
    add("--provenance", type=_json_object, default={}, help="JSON object for the manifest")
    add("--commit", help="Git commit of the code, for the manifest")
    add("--work_dir", help="folder for temporary files; default: the system's")
    return parser
