"""The agent of a training Job: fetch code and data, run the boot file, publish its model."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from store import dialect, objects, room, slowness
from store.client import from_environment
from store.errors import StoreError
from store.patience import Patience
from store.urls import S3Url
from training.agent import boot_environment, metrics_page, run_record
from training.agent.acceptance import Acceptance
from training.agent.boot_process import BootProcess
from training.agent.disk import NOTE_FILE, Disk
from training.agent.flags import agent_parser, run_parameters
from training.agent.inputs import Inputs
from training.agent.job_log import LOG_FILE, JobLog
from training.agent.membership import Membership
from training.agent.outcome import Outcome
from training.agent.packages.wheel_store import WheelStore
from training.agent.phases import Phases
from training.agent.rounds import Rounds
from training.agent.run_folders import RunFolders
from training.agent.run_record import RECORD_FILE, RunRecord, Save
from training.agent.termination import EXIT_TERMINATED, Terminated, raise_on_signals
from training.agent.workers import Workers
from training.command_line import EXIT_FAILED, TrainingError
from training.folders import CHECKPOINT_FOLDER, MODEL_FOLDER
from training.mirror.upload_mirror import (
    GIVE_UP_AFTER_SECONDS,
    REFUSED_SECONDS,
    UploadMirror,
)

PACKAGES_FOLDER = "packages"
"""Of the output bucket: what code folders' `requirements.txt` asked for."""
# Of the time from SIGTERM to SIGKILL: what a boot file may save, has to be uploaded, too.
_BOOT_SHARE = 0.6
# What the agent's own end takes.
_RESERVE_SECONDS = 1.0
_LEAST_UPLOAD_SECONDS = 0.2
_END_SHARE, _END_SECONDS = 0.02, 30.0
"""Of the Job's time, or seconds, whichever is less: so long before its end the agent gives up by
itself, and can say why."""
_SLOW_START_SECONDS, _SLOW_PUBLISH_SECONDS = 5.0, 30.0
"""What takes longer is told."""


class Agent:
    """One run of a training Job. `run` is called once, in the main thread."""

    def __init__(self, options: argparse.Namespace, boot_arguments: Sequence[str]) -> None:
        self._options = options
        self._boot_arguments = list(boot_arguments)
        self._inputs = Inputs(options)
        self._train_url = S3Url.parse(options.train_url, "--train_url")
        self._model_url = S3Url.parse(options.model_url, "--model_url")
        self._began = time.monotonic()
        self._boot_environment = boot_environment.take(os.environ)
        self._membership = Membership.of(options.workers, options.chief)
        self._index = self._membership.index if self._membership else 0
        # The chief's checkpoints and log are the run's.
        self._kept_url = (
            self._train_url / f"workers/{self._index}" if self._index else self._train_url
        )
        self._client = from_environment()
        self._patience = Patience(options.store_seconds, lambda line: print(line, flush=True))
        self._acceptance = Acceptance(options, self._client, self._patience, self._model_url)
        self._outcome = Outcome(
            options,
            run_parameters(boot_arguments),
            self._client,
            self._model_url,
            self._acceptance,
        )
        self._workers: Workers | None = None
        self._rounds: Rounds | None = None
        self._mirror: UploadMirror | None = None
        self._record: RunRecord | None = None
        self._log: JobLog | None = None
        self._disk: Disk | None = None

    def run(self) -> int:
        """Return the process's exit status: the boot file's, or 0 when its model is published."""
        options = self._options
        with self._told_at_the_start():
            found = self._acceptance.published()
        for damage in found.damaged:
            print(f"A published version is damaged. {damage}", flush=True)
        if found.version is not None and found.manifest is not None:
            print(
                f"Run {options.run_hash[:12]} is already published as version "
                f"{found.version.number}: {found.version.url}",
                flush=True,
            )
            self._pass_again(found.version.number, found.manifest.metrics)
            return 0
        if options.work_dir:
            Path(options.work_dir).mkdir(parents=True, exist_ok=True)
        work_dir = Path(tempfile.mkdtemp(prefix="dlstack-", dir=options.work_dir))
        try:
            return self._run_in(RunFolders(work_dir))
        except OSError as error:
            if error.errno not in room.FULL:
                raise
            raise TrainingError(
                f"The disk of the pod is full: '{work_dir.parent}'. Give dlstack:flavour a bigger "
                "disk (dlstack:flavours), or free the node's."
            ) from error
        except Terminated as end:
            # A second one must not interrupt the clean-up. Only who presses Ctrl-C twice means it.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            too_much = self._disk.too_much() if self._disk else ""
            self._stop_in_time(end, too_much)
            if too_much:
                # It was not another's need of the node: the next pod would end like this one.
                raise TrainingError(too_much) from end
            raise
        finally:
            self._stop_training()
            if self._workers is not None:
                self._workers.close()
            shutil.rmtree(work_dir, ignore_errors=True)

    def _run_in(self, folders: RunFolders) -> int:
        """Train and publish with a mirror that uploads the log, an error's line included."""
        chief = self._index == 0
        folders.train.mkdir()
        beside = {LOG_FILE: folders.log, NOTE_FILE: folders.note}
        lasting = self._until_the_end(REFUSED_SECONDS)
        mirror = UploadMirror(
            self._client,
            folders.train,
            self._kept_url,
            # Published under its version instead.
            exclude=frozenset({MODEL_FOLDER}),
            beside={**beside, RECORD_FILE: folders.record} if chief else beside,
            patience=lasting,
            say=self._say,
            on_failure=self._stop_training,
        )
        # A train_url that can't be used is known now rather than after the training.
        names = {CHECKPOINT_FOLDER, LOG_FILE, RECORD_FILE} if chief else {LOG_FILE}
        disk = Disk(
            *(folders.work, folders.note, self._say, self._stop_training),
            limit=self._options.disk_bytes,
            # Where a pod's volumes are.
            counted=[Path(self._options.work_dir or folders.work), Path("/tmp")],
        )
        with self._told_at_the_start():
            earlier = self._patience.ask(lambda: mirror.fetch(names | {NOTE_FILE}))
            how = self._patience.ask(lambda: dialect.of(self._client, self._train_url.bucket))
        self._record = self._new_record(
            run_record.into(folders.record) if chief else run_record.nowhere,
            run_record.read(folders.record),
        )
        self._record.begins()
        self._log = log = JobLog(folders.log, self._record.sees)
        for lack in how.lacks:
            log.line(f"The object store at '{self._client.endpoint}': {lack}")
        self._show_numbers(self._record, log)
        if earlier:
            log.line("Going on with what an earlier attempt at this run left")
        # On a store that is known to do all that S3 does, the first write says whether one may.
        self._patience.ask(mirror.upload)
        mirror.start()
        # Not before: what has not started can't be finished when SIGTERM comes.
        self._mirror, self._disk = mirror, disk
        record = self._record
        try:
            disk.require_another_try()
            disk.start()
            if self._membership is not None:
                self._workers = Workers(
                    self._membership,
                    run_hash=self._options.run_hash,
                    on_lost=self._stop_training,
                    is_published=self._is_published,
                    join_seconds=self._options.join_seconds,
                )
            status = self._train_and_publish(log, mirror, disk, folders, record, lasting)
        except (TrainingError, StoreError) as error:
            self._make_room(folders, disk)
            log.error(str(error))
            record.ends("failed", str(error))
            if self._workers is not None:
                self._workers.tell_failure(EXIT_FAILED)
            self._finish(mirror, disk)
            return EXIT_FAILED
        except Exception as error:
            problem = disk.problem() or f"{type(error).__name__}: {error}"
            self._make_room(folders, disk)
            record.ends("failed", problem)
            if isinstance(error, OSError) and error.errno in room.FULL:
                log.error(problem)
                self._finish(mirror, disk)
                return EXIT_FAILED
            # A mistake of ours: its traceback is the end of the pod's log.
            self._finish(mirror, disk)
            raise
        record.ends("succeeded")
        self._finish(mirror, disk)
        return status

    def _finish(self, mirror: UploadMirror, disk: Disk) -> None:
        disk.ends()
        mirror.finish(cut_at=self._rounds.cut_at if self._rounds else None)

    def _make_room(self, folders: RunFolders, disk: Disk) -> None:
        """Let the log and the record have room on a full disk: nobody reads the data any more."""
        if disk.is_full():
            self._stop_training()
            shutil.rmtree(folders.data, ignore_errors=True)

    def _until_the_end(self, refused_seconds: float) -> Patience:
        """Return the patience that lasts until the Job ends."""
        whole = self._options.timeout_seconds
        if whole is None:
            seconds = GIVE_UP_AFTER_SECONDS
            return Patience.each_time(
                seconds, self._say, refused_seconds=min(seconds, refused_seconds)
            )
        left = self._began + whole - min(_END_SECONDS, _END_SHARE * whole) - time.monotonic()
        return Patience(left, self._say, refused_seconds=refused_seconds)

    def _say(self, line: str) -> None:
        if self._log is not None:
            self._log.line(line)
        else:
            print(line, flush=True)

    def _told_at_the_start(self) -> contextlib.AbstractContextManager[None]:
        where = self._client.endpoint
        return slowness.told(
            self._say,
            lambda seconds: f"Waiting for the object store at '{where}': {seconds:.0f} s so far",
            _SLOW_START_SECONDS,
        )

    def _train_and_publish(
        self,
        log: JobLog,
        mirror: UploadMirror,
        disk: Disk,
        folders: RunFolders,
        record: RunRecord,
        lasting: Patience,
    ) -> int:
        boot_file = self._options.boot_file
        phases = Phases(record.phase)
        fetching = self._until_the_end(0)
        self._inputs.fetch(
            self._client,
            folders,
            disk=disk,
            record=record,
            phases=phases,
            patience=fetching,
            log=log,
        )
        wheels = WheelStore(self._client, S3Url(self._train_url.bucket, PACKAGES_FOLDER))
        python = self._inputs.install(folders, wheels, self._boot_environment, phases, log)

        def require_kept() -> None:
            disk.check()
            mirror.check()

        self._rounds = self._rounds_of(log, require_kept, folders, python)
        status = self._rounds.run()
        log.line(f"Ran boot file '{boot_file}' in {phases.end('train'):.1f} s")
        if status != 0:
            problem = f"boot file '{boot_file}' exited with status {status}"
            log.line(problem)
            if full := disk.problem():
                self._make_room(folders, disk)
                log.error(full)
            record.ends("failed", full or problem, folders.log)
            # To Kubernetes it means that the pod was told to end, and is to be started again.
            return EXIT_FAILED if status == EXIT_TERMINATED else status

        if told := self._inputs.changed(self._client, fetching):
            log.line(told)
        if self._index > 0:
            log.line(f"Worker {self._index} is done; worker 0 has published the model")
            return 0
        with slowness.told(
            log.line,
            lambda seconds: f"Publishing takes long: {seconds:.0f} s so far",
            _SLOW_PUBLISH_SECONDS,
        ):
            version, url = self._outcome.publish(
                folders,
                log=log,
                phases=phases,
                record=record,
                patience=lasting,
                asking=self._until_the_end(0),
            )
        record.published(version)
        log.line(f"Published version {version} in {phases.end('publish'):.1f} s: {url}")
        if self._workers is not None:
            self._workers.tell_published()
        return 0

    def _rounds_of(
        self,
        log: JobLog,
        require_kept: Callable[[], None],
        folders: RunFolders,
        python: Path | None,
    ) -> Rounds:
        urls = [f"--data_url={self._inputs.data(folders)}", f"--train_url={folders.train}"]

        def start(environment: Mapping[str, str]) -> BootProcess:
            arguments = [*urls, *self._boot_arguments]
            variables = {**self._boot_environment, **environment}
            boot_file = self._options.boot_file
            return BootProcess(folders.code, boot_file, arguments, log, variables, python=python)

        return Rounds(
            start,
            require_kept,
            self._workers,
            publishes=self._index == 0,
            model_dir=folders.train / MODEL_FOLDER,
            log=log,
        )

    def _is_published(self) -> bool:
        try:
            return self._acceptance.published_meanwhile() is not None
        except StoreError:
            # It is asked again, as long as the others are waited for.
            return False

    def _show_numbers(self, record: RunRecord, log: JobLog) -> None:
        port = self._options.metrics_port
        if not port:
            return
        try:
            metrics_page.serve(port, record.now, self._index)
        except OSError as error:
            # No reason for a run to fail.
            log.line(f"Prometheus gets no numbers: port {port} can't be used ({error.strerror})")

    def _stop_training(self) -> None:
        """End the boot file: its output can't be kept, or another worker is gone."""
        if self._rounds is not None:
            self._rounds.stop()

    def _new_record(self, save: Save, earlier: bytes | None) -> RunRecord:
        options = self._options
        facts = {
            "run_hash": options.run_hash,
            "model_name": self._model_url.prefix.rsplit("/", 1)[-1],
            "parameters": run_parameters(self._boot_arguments),
            "boot_file": options.boot_file,
            **({"commit": options.commit} if options.commit else {}),
            "nodes": options.workers,
            "attempt": options.attempt,
            "provenance": options.provenance,
            "sources": options.sources,
        }
        return RunRecord(save, earlier, facts)

    def _pass_again(self, version: int, metrics: Mapping[str, float]) -> None:
        """Check the bars of a published version, one of which may have been raised since."""
        record = None
        if self._index == 0:
            # What published it may have been killed before it said so.
            record = self._new_record(*run_record.at(self._client, self._train_url / RECORD_FILE))
            record.measured(metrics)
            record.published(version)
        try:
            self._acceptance.check_bars(metrics)
        except TrainingError as error:
            if record is not None:
                record.ends("failed", str(error))
            raise
        if record is not None:
            record.ends("succeeded")

    def _stop_in_time(self, end: Terminated, too_much: str) -> None:
        """Let the boot file save what it has, and upload it, before SIGKILL comes.

        Args:
            end: what came.
            too_much: why that is the run's own fault; empty: it is not.
        """
        grace, note = self._options.grace_seconds, self._kept_url / NOTE_FILE
        if self._disk is not None:
            if too_much:
                self._disk.ends()
            else:
                self._disk.told_to_end(lambda content: self._keep_note(note, content))
        if self._workers is not None:
            self._workers.close()
        if self._rounds is not None:
            self._rounds.stop(_BOOT_SHARE * grace)
        if self._record is not None:
            if too_much:
                self._record.ends("failed", too_much)
            else:
                self._record.ends("interrupted", f"it was told to end ({end.cause})")
        until = end.arrived + grace - _RESERVE_SECONDS
        if self._mirror is not None:
            left = until - time.monotonic()
            cut_at = self._rounds.cut_at if self._rounds else None
            try:
                self._mirror.finish(max(left, _LEAST_UPLOAD_SECONDS), cut_at=cut_at)
            except TrainingError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
        if self._disk is not None and self._disk.was_spared(end.arrived, until):
            with contextlib.suppress(StoreError):
                objects.delete(self._client, note)

    def _keep_note(self, url: S3Url, content: bytes) -> None:
        with contextlib.suppress(StoreError):
            objects.write(self._client, url, content)


def main(arguments: Sequence[str]) -> int:
    """Run the agent with the flags of a command line; return the exit status."""
    raise_on_signals()
    listed = list(arguments)
    end = listed.index("--") if "--" in listed else len(listed)
    try:
        return Agent(agent_parser().parse_args(listed[:end]), listed[end + 1 :]).run()
    except Terminated as end:
        # Threads may hang in the network; they must not hold up the end.
        os._exit(end.status)
