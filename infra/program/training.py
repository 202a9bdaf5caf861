"""The training run, with what it reads, and TensorBoard over all runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from store.urls import is_s3

from ..cluster import names
from ..components.tensorboard import TensorBoard, TensorBoardArgs
from ..components.training_job import TrainingJob, TrainingJobArgs
from ..resources.folder import Folder
from ..run import git
from ..run.attempts import Attempt, is_there, next_attempt
from ..run.planned import PlannedRun
from ..run.run_hash import short
from ..settings.settings import Settings
from .place import Place
from .storage import Storage


@dataclass(frozen=True)
class Training:
    """What serving and the stack's outputs need of it."""

    job: TrainingJob
    attempt: Attempt
    tensorboard: TensorBoard


def declare_training(
    settings: Settings,
    run: PlannedRun,
    jobs: Sequence[Mapping[str, Any]],
    place: Place,
    storage: Storage,
) -> Training:
    """Declare the next attempt at `run`, unless it is one of the `jobs` that there are."""
    packages = place.packages("training", run.library)
    tensorboard = TensorBoard(
        names.TENSORBOARD,
        TensorBoardArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.runtime_image,
            packages=packages,
            store_environment=storage.environment,
            store_keys=storage.keys,
            runs_url=pulumi.Output.concat(storage.output_url, "/runs"),
            # TensorBoard has neither encryption nor a token: it stays in the cluster then.
            service_type="ClusterIP" if settings.access else settings.service_type,
            host=place.host,
            forced_host=None if settings.access else settings.host,
            cluster=place.cluster,
        ),
    )
    attempt = next_attempt(jobs, run.hash, lambda: git.commit(settings.code_dir, run.code))
    job = TrainingJob(
        names.TRAINING,
        TrainingJobArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.image,
            packages=packages,
            store_environment=storage.environment,
            code_url=_code(settings, run, storage),
            data_url=_data(settings, run, storage),
            output_url=storage.output_url,
            boot_file=settings.boot_file,
            run_parameters=settings.run_parameters,
            run_hash=run.hash,
            model_name=settings.model_name,
            min_accuracy=settings.min_accuracy,
            min_metrics=settings.min_metrics,
            max_metrics=settings.max_metrics,
            provenance=run.provenance,
            flavour=settings.flavour,
            node_count=settings.node_count,
            timeout_seconds=settings.timeout_seconds,
            retries=settings.retries,
            attempt=attempt,
        ),
    )
    if not (is_there(jobs, run.hash, attempt) or pulumi.runtime.is_dry_run()):
        _announce(run, attempt)
    return Training(job, attempt, tensorboard)


def _code(settings: Settings, run: PlannedRun, storage: Storage) -> pulumi.Output[str]:
    """Declare the upload of the code folder; return its URL."""
    return Folder(
        "code",
        path=settings.code_dir,
        files=run.code,
        bucket=storage.data_bucket.bucket,
        prefix="code/",
        store=storage.store,
        source=True,
    ).url


def _data(settings: Settings, run: PlannedRun, storage: Storage) -> pulumi.Input[str]:
    """Declare the upload of the data set, unless it is in a bucket already; return its URL."""
    if is_s3(settings.data_dir):
        return settings.data_dir
    return Folder(
        "data",
        path=settings.data_dir,
        files=run.data,
        bucket=storage.data_bucket.bucket,
        prefix="data/",
        store=storage.store,
    ).url


def _announce(run: PlannedRun, attempt: Attempt) -> None:
    # Of the stack, not of the Job: a resource's messages wait until it is made, or has failed.
    pulumi.log.info(
        f"Training run {short(run.hash)}, attempt {attempt.number}. "
        "Its log, while it goes on and afterwards: python -m infra logs -f"
    )
