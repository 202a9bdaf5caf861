"""The training run, with what it reads, and TensorBoard over all runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from store.urls import is_s3

from ..cluster import names
from ..components.scraping import Scraping
from ..components.tensorboard import TensorBoard, TensorBoardArgs
from ..components.training_job import TrainingJob, TrainingJobArgs
from ..resources.folder import Folder
from ..resources.other_runs import OtherRuns
from ..resources.package import Package
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
    folders: Sequence[pulumi.Input[str]]
    """URLs of code and data."""


def declare_training(
    settings: Settings, plan: Plan, place: Place, storage: Storage, proxy: ProxySecret
) -> Training:
    """Declare TensorBoard, and the Job of the run that is planned, if it needs one."""
    package = place.package("training", plan.library)
    tensorboard = TensorBoard(
        names.TENSORBOARD,
        TensorBoardArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.runtime_image,
            packages=place.packages(package),
            store_environment=storage.environment,
            store_keys=storage.keys,
            proxy_digest=proxy.digest,
            runs_url=pulumi.Output.concat(storage.output_url, "/runs"),
            service_type=settings.tensorboard_service_type,
            host=place.host,
            pods=settings.pods,
            cluster=place.cluster,
        ),
        pulumi.ResourceOptions(depends_on=proxy.resources),
    )
    code, data = _code(settings, plan.run, storage), _data(settings, plan.run, storage)
    code_url, data_url = code.url, data.url if isinstance(data, Folder) else data
    run, attempt = plan.run, plan.attempt
    others = OtherRuns(
        "other-runs",
        cluster=place.cluster,
        namespace=place.namespace,
        keep=job_name(run.hash, attempt) if run and attempt else "",
        others=plan.others,
        output_bucket=storage.output_bucket.bucket,
        store=storage.store,
        opts=pulumi.ResourceOptions(
            depends_on=[
                # What still trains writes to them until it is ended.
                *(storage.data_bucket, storage.output_bucket),
                # And trains on where what is to follow it can't be sent.
                *(one for one in (code, data) if isinstance(one, Folder)),
            ]
        ),
    )
    if run is None or attempt is None:
        return Training(None, others, tensorboard, [code_url, data_url])
    secret = _secret_env(settings, place)
    job = TrainingJob(
        names.TRAINING,
        TrainingJobArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.image,
            packages=place.packages(package, _checker(settings, place, others)),
            store_environment=storage.environment,
            code_url=code_url,
            data_url=data_url,
            data_mode=settings.data_mode,
            store=storage.store,
            output_bucket=storage.output_bucket.bucket,
            boot_file=settings.boot_file,
            run_parameters=settings.run_parameters,
            env=settings.env,
            secret_env=names.SECRET_ENV if secret else None,
            executables=run.executables,
            run_hash=run.hash,
            model_name=settings.model_name,
            min_accuracy=settings.min_accuracy,
            min_metrics=settings.min_metrics,
            max_metrics=settings.max_metrics,
            max_decrease=settings.max_decrease,
            max_increase=settings.max_increase,
            provenance=run.provenance,
            sources=run.sources,
            flavour=plan.flavour or settings.flavour,
            node_count=settings.node_count,
            timeout_seconds=settings.timeout_seconds,
            start_seconds=settings.start_seconds,
            join_seconds=settings.join_seconds,
            grace_seconds=settings.grace_seconds,
            retries=settings.retries,
            attempt=attempt,
            digest=plan.digest,
            # Annotated in any case: an operator that comes or goes would be another Job else.
            scraping=place.scraping and Scraping(annotated=True),
            pods=settings.pods,
            queue=settings.queue,
            cluster=place.cluster,
        ),
        pulumi.ResourceOptions(depends_on=[others, *proxy.resources, *secret]),
    )
    return Training(job, others, tensorboard, [code_url, data_url])


_MOST_CHECK_SECONDS = 600
"""A model that takes longer to load and answer would not get through a roll-out either."""


def _checker(settings: Settings, place: Place, others: OtherRuns) -> Package:
    """Declare what tries the model before it is published.

    After the others: a bucket that may not be had is told before anything is made for a training.
    """
    return place.checker(
        {
            "seconds": min(settings.timeout_seconds, _MOST_CHECK_SECONDS),
            "op_libraries": ",".join(settings.serving_op_libraries),
            "engine": settings.serving_engine,
        },
        after=others,
    )


def _secret_env(settings: Settings, place: Place) -> list[pulumi.Resource]:
    """Declare the Secret with the boot file's secret variables, if there are any.

    The Job names it, whatever is in it: a token that is renewed makes no other Job.
    """
    if not settings.secret_env:
        return []
    return [
        Secret(
            names.SECRET_ENV,
            metadata=ObjectMetaArgs(
                name=names.SECRET_ENV,
                namespace=place.namespace,
                labels=names.labels(names.TRAINING, place.instance),
            ),
            string_data=pulumi.Output.secret(dict(settings.secret_env)),
        )
    ]


_AS_IT_IS = pulumi.ResourceOptions(ignore_changes=["path", "digest", "count"])
"""Of a folder while a version is pinned: what was uploaded stays, and nothing else is read."""


def _code(settings: Settings, run: PlannedRun | None, storage: Storage) -> Folder:
    """Declare the upload of the code folder."""
    return Folder(
        "code",
        path=settings.code_dir,
        files=run.code if run else {},
        bucket=storage.data_bucket.bucket,
        store=storage.store,
        source=True,
        opts=None if run else _AS_IT_IS,
    )


def _data(settings: Settings, run: PlannedRun | None, storage: Storage) -> Folder | str:
    """Declare the upload of the data set; of one that is in a bucket already return the URL."""
    if is_s3(settings.data_dir) or not settings.data_dir:
        return settings.data_dir
    return Folder(
        "data",
        path=settings.data_dir,
        files=run.data if run else {},
        bucket=storage.data_bucket.bucket,
        store=storage.store,
        opts=None if run else _AS_IT_IS,
    )
