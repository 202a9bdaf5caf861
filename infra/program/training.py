"""The training run, with what it reads, and TensorBoard over all runs."""

from dataclasses import dataclass

import pulumi

from store.urls import is_s3

from ..cluster import names
from ..components.tensorboard import TensorBoard, TensorBoardArgs
from ..components.training_job import TrainingJob, TrainingJobArgs
from ..resources.folder import Folder
from ..resources.other_runs import OtherRuns
from ..run.attempts import job_name
from ..run.planned import PlannedRun
from ..settings.settings import Settings
from .place import Place
from .plan import Plan
from .proxy import ProxySecret
from .storage import Storage


@dataclass(frozen=True)
class Training:
    """What serving and the stack's outputs need of it."""

    job: TrainingJob | None
    """None: nothing is to be trained."""
    others: OtherRuns
    tensorboard: TensorBoard


def declare_training(
    settings: Settings, plan: Plan, place: Place, storage: Storage, proxy: ProxySecret
) -> Training:
    """Declare TensorBoard, and the Job of the run that is planned, if it needs one."""
    packages = place.packages("training", plan.library)
    tensorboard = TensorBoard(
        names.TENSORBOARD,
        TensorBoardArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.runtime_image,
            packages=packages,
            store_environment=storage.environment,
            store_keys=storage.keys,
            proxy_digest=proxy.digest,
            runs_url=pulumi.Output.concat(storage.output_url, "/runs"),
            # TensorBoard has neither encryption nor a token: it stays in the cluster then.
            service_type="ClusterIP" if settings.access else settings.service_type,
            host=place.host,
            forced_host=None if settings.access else settings.host,
            cluster=place.cluster,
        ),
        pulumi.ResourceOptions(depends_on=proxy.resources),
    )
    code_url = _code(settings, plan.run, storage)
    data_url = _data(settings, plan.run, storage)
    run, attempt = plan.run, plan.attempt
    others = OtherRuns(
        "other-runs",
        cluster=place.cluster,
        namespace=place.namespace,
        keep=job_name(run.hash, attempt) if run and attempt else "",
        others=plan.others,
        # What still trains writes to them until it is ended.
        opts=pulumi.ResourceOptions(depends_on=[storage.data_bucket, storage.output_bucket]),
    )
    if run is None or attempt is None:
        return Training(None, others, tensorboard)
    job = TrainingJob(
        names.TRAINING,
        TrainingJobArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.image,
            packages=packages,
            store_environment=storage.environment,
            code_url=code_url,
            data_url=data_url,
            store=storage.store,
            output_bucket=storage.output_bucket.bucket,
            boot_file=settings.boot_file,
            run_parameters=settings.run_parameters,
            run_hash=run.hash,
            model_name=settings.model_name,
            min_accuracy=settings.min_accuracy,
            min_metrics=settings.min_metrics,
            max_metrics=settings.max_metrics,
            provenance=run.provenance,
            sources=run.sources,
            flavour=settings.flavour,
            node_count=settings.node_count,
            timeout_seconds=settings.timeout_seconds,
            retries=settings.retries,
            attempt=attempt,
            digest=plan.digest,
            cluster=place.cluster,
        ),
        pulumi.ResourceOptions(depends_on=[others, *proxy.resources]),
    )
    return Training(job, others, tensorboard)


_AS_IT_IS = pulumi.ResourceOptions(ignore_changes=["path", "files"])
"""Of a folder while a version is pinned: what was uploaded stays, and nothing else is read."""


def _code(settings: Settings, run: PlannedRun | None, storage: Storage) -> pulumi.Output[str]:
    """Declare the upload of the code folder; return its URL."""
    return Folder(
        "code",
        path=settings.code_dir,
        files=run.code if run else {},
        bucket=storage.data_bucket.bucket,
        prefix="code/",
        store=storage.store,
        source=True,
        opts=None if run else _AS_IT_IS,
    ).url


def _data(settings: Settings, run: PlannedRun | None, storage: Storage) -> pulumi.Input[str]:
    """Declare the upload of the data set, unless it is in a bucket already; return its URL."""
    if is_s3(settings.data_dir):
        return settings.data_dir
    return Folder(
        "data",
        path=settings.data_dir,
        files=run.data if run else {},
        bucket=storage.data_bucket.bucket,
        prefix="data/",
        store=storage.store,
        opts=None if run else _AS_IT_IS,
    ).url
