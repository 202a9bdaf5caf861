"""What a boot file works with: its code, its data and the packages that it asks for."""

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path

from store.client import Client
from store.patience import Patience
from store.urls import S3Url
from training.agent import streamed_data
from training.agent.disk import Disk
from training.agent.fetching import fetch
from training.agent.job_log import JobLog
from training.agent.packages import installation
from training.agent.packages.wheel_store import WheelStore
from training.agent.phases import Phases
from training.agent.run_folders import RunFolders
from training.agent.run_record import RunRecord


class Inputs:
    """Of one run, as the agent's flags name them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._code_url = S3Url.parse(options.code_url, "--code_url")
        self._data_url = S3Url.parse(options.data_url, "dlstack:dataDir")
        self._streams = options.data_mode == "stream"
        self._seen: streamed_data.Seen | None = None

    def data(self, folders: RunFolders) -> S3Url | Path:
        """Return where the boot file reads its data."""
        return self._data_url if self._streams else folders.data

    def fetch(
        self,
        client: Client,
        folders: RunFolders,
        *,
        disk: Disk,
        record: RunRecord,
        phases: Phases,
        patience: Patience,
        log: JobLog,
    ) -> None:
        """Get code and data; of data that is read where it is, note down what it is.

        Raises:
            TrainingError: something is not there, has no room, or is not what it was.
            StoreError: something can't be fetched.
        """

        def fetched_from(key: str, url: S3Url, target: Path) -> int:
            return fetch(client, key, url, target, disk=disk, patience=patience, say=log.line)

        what, fetched = "code", fetched_from("dlstack:codeDir", self._code_url, folders.code)
        for path in self._options.executables:
            with contextlib.suppress(FileNotFoundError):
                (folders.code / path).chmod(0o755)
        if self._streams:
            self._seen = self._look(client, patience)
            streamed_data.begin(self._seen, self._data_url, record)
            log.line(f"Data is read where it is, '{self._data_url}': {self._seen}")
        else:
            what = "code and data"
            fetched += fetched_from("dlstack:dataDir", self._data_url, folders.data)
        log.line(f"Fetched {what}, {fetched / 1e6:.1f} MB, in {phases.end('fetch'):.1f} s")

    def install(
        self,
        folders: RunFolders,
        kept: WheelStore,
        variables: Mapping[str, str],
        phases: Phases,
        log: JobLog,
    ) -> Path | None:
        """Install what the code asks for; return the Python that has it, None: this one.

        Args:
            folders: of the run.
            kept: has wheels of earlier runs.
            variables: of the boot file.
            phases, log: are told.
        """
        python = installation.install(
            folders.code,
            self._options.boot_file,
            folders.packages,
            say=log.line,
            variables=variables,
            kept=kept,
        )
        if python is not None:
            phases.end("packages")
        return python

    def changed(self, client: Client, patience: Patience) -> str:
        """Return a line if data that was read where it is is another by now; else nothing."""
        if self._seen is None:
            return ""
        return streamed_data.changed(self._seen, self._look(client, patience))

    def _look(self, client: Client, patience: Patience) -> streamed_data.Seen:
        return patience.ask(lambda: streamed_data.look(client, self._data_url))
