"""What a boot file left: accepted, and published as a version of the model."""

import argparse
from collections.abc import Mapping

from store.client import Client
from store.patience import Patience
from store.urls import S3Url
from training.agent.acceptance import Acceptance
from training.agent.job_log import JobLog
from training.agent.model_check import ModelCheck
from training.agent.phases import Phases
from training.agent.publishing import Provenance, check_model, publish
from training.agent.run_folders import RunFolders
from training.agent.run_record import RunRecord
from training.metrics import read_metrics


class Outcome:
    """Of one run.

    Args:
        options: the agent's flags.
        parameters: of the run, for the manifest.
        client: of the store.
        model_url: the folder of the model's versions.
        acceptance: says what is good enough.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        parameters: Mapping[str, str],
        client: Client,
        model_url: S3Url,
        acceptance: Acceptance,
    ) -> None:
        self._options = options
        self._parameters = parameters
        self._client = client
        self._model_url = model_url
        self._acceptance = acceptance

    def publish(
        self,
        folders: RunFolders,
        *,
        log: JobLog,
        phases: Phases,
        record: RunRecord,
        patience: Patience,
        asking: Patience,
    ) -> tuple[int, S3Url]:
        """Publish what the boot file left, if its metrics pass and its model answers.

        Args:
            folders: of the run.
            log, phases, record: are told.
            patience: with a store that takes nothing.
            asking: with one that says nothing of earlier versions.

        Returns:
            The version and its URL.

        Raises:
            TrainingError: it does not pass.
        """
        options = self._options
        model_dir = check_model(folders.train, options.boot_file, folders.code)
        metrics = read_metrics(folders.train, options.boot_file)
        record.measured(metrics)
        self._acceptance.check_bars(metrics)
        self._acceptance.check_regressions(metrics, log.line, asking)
        if options.checker is not None:
            ModelCheck.of(options.checker).run(model_dir, log.line)
            phases.end("check")
        if (there := patience.ask(self._acceptance.published_meanwhile)) is not None:
            log.line("Another pod of this run has published its model meanwhile")
            return there.number, there.url
        provenance = Provenance(
            run_hash=options.run_hash,
            metrics=metrics,
            parameters=self._parameters,
            details={
                "boot_file": options.boot_file,
                **({"commit": options.commit} if options.commit else {}),
                **options.provenance,
            },
            seconds=phases.seconds,
            sources=options.sources,
        )
        return publish(self._client, model_dir, self._model_url, provenance, patience)
