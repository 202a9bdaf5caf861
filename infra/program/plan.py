"""What an `up` does about training: which run there is to be, and whether it needs a Job."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from store import models
from store.access import ACCESS_KEY, SECRET_KEY, Access
from store.errors import NoBucket, StoreError, Unreachable
from store.models import Manifest, Version
from store.urls import is_s3

from ..cluster import ending, served
from ..cluster.clusters import Cluster
from ..cluster.flavour import Flavour
from ..cluster.jobs import end_of, is_of_a_run
from ..cluster.served import Served
from ..components import training_job
from ..resources import connection
from ..run import attempts, git, packages
from ..run.attempts import Attempt
from ..run.planned import PlannedRun
from ..run.run_hash import digest
from ..settings.settings import Settings
from . import announcements, bars, data_room, kept_data, model_import, model_place, store_start
from .kept_data import KeptData
from .model_import import PlannedImport


@dataclass(frozen=True)
class Plan:
    """What was decided before anything is declared."""

    library: Mapping[str, str]
    """Path -> SHA-256 of the package `training`."""
    run: PlannedRun | None
    """None: a version is pinned or a model named, and nothing is trained."""
    digest: str
    """Of all that the run's Job is made of; empty without a run."""
    attempt: Attempt | None
    """None: the run needs no Job, since what it makes is published."""
    makes_job: bool
    """Whether the attempt's Job is not there yet."""
    published: int | None
    """The intact version of the run in the bucket; None: there is none, or nobody has looked."""
    others: Sequence[str]
    """Names of the Jobs in the cluster that are not the one that there is to be."""
    imported: PlannedImport | None = None
    """A model that is copied from elsewhere, in the place of a training."""
    served: Served | None = None
    """What serves now, and is to go on, where `dlstack:deploy` is false; None: nothing does."""
    flavour: Flavour | None = None
    """Of the pods of the run's Job, with the disk for its data; None where there is no Job."""
    data: KeptData = KeptData("", "")
    """What the stack's bucket is to have of a data set that is no other bucket's."""


def plan(settings: Settings, cluster: Cluster) -> Plan:
    """Look at the working tree, at the Jobs in the cluster and, if they leave it open, the bucket.

    A bucket that can't be looked at counts as if all were well there.
    """
    jobs = ending.jobs(cluster, settings.namespace)
    if settings.model_version is not None:
        announcements.tell_what_is_withheld(settings, model_place.find(settings, cluster), cluster)
        return Plan(
            packages.read("training"),
            *(None, "", None, False, None, _others(jobs, "")),
            data=kept_data.find(settings, cluster),
        )
    if settings.model is not None:
        return Plan(
            packages.read("training"),
            *(None, "", None, False, None, _others(jobs, "")),
            imported=model_import.plan(settings, cluster, model_place.find(settings, cluster)),
            served=None if settings.deploys else served.find(cluster, settings.namespace),
            data=kept_data.find(settings, cluster),
        )
    run = PlannedRun.of(settings, lambda: kept_data.read(settings, cluster))
    made_of = _digest(settings, run)
    job = attempts.latest(jobs, run.hash)
    stands = attempts.stands(job, made_of)
    found, lost = None, False
    # As long as it trains there is nothing that could be lost.
    if job is None or not stands or end_of(job) is not None:
        looked = _look(settings, cluster, run.hash, patiently=not stands)
        found = looked[0] if looked else None
        lost = bool(looked) and found is None
    if found is not None and not stands and not any(bars.failures(found[1].metrics, settings)):
        attempt = None
    else:
        attempt = attempts.next_attempt(
            job, made_of, lambda: git.commit(settings.code_dir, run.code), lost=lost
        )
    makes_job = attempt is not None and (job is None or attempts.number_of(job) != attempt.number)
    flavour = settings.flavour
    if attempt is not None:
        flavour = data_room.reserved(settings, run, cluster, None if makes_job else job)
    if makes_job:
        announcements.tell_what_is_trained(
            settings, run, model_place.find(settings, cluster), found
        )
    return Plan(
        library=run.library,
        run=run,
        digest=made_of,
        attempt=attempt,
        makes_job=makes_job,
        flavour=flavour,
        published=found[0].number if found else None,
        others=_others(jobs, attempts.job_name(run.hash, attempt) if attempt else ""),
        served=None if settings.deploys else served.find(cluster, settings.namespace),
        data=KeptData("", "")
        if is_s3(settings.data_dir)
        else KeptData(settings.data_dir, str(run.provenance["data_sha256"])),
    )


def _others(jobs: Sequence[Mapping[str, Any]], keep: str) -> list[str]:
    found = [str(job["metadata"]["name"]) for job in jobs if is_of_a_run(job)]
    return [name for name in found if name != keep]


def _digest(settings: Settings, run: PlannedRun) -> str:
    """Return the digest of all that the run's Job is made of: an edit makes another attempt."""
    store = settings.store
    return digest(
        {
            "run": run.hash,
            "template": training_job.template_digest(),
            "library": dict(run.library),
            "store": packages.read("store"),
            "object_store": _reached(store) if store else None,
            "namespace": settings.namespace,
            "buckets": [settings.data_bucket, settings.output_bucket],
            "data_dir": str(settings.data_dir) if "://" in settings.data_dir else None,
            "data_mode": settings.data_mode,
            "provenance": dict(run.provenance),
            "flavour": dataclasses.asdict(settings.flavour),
            "pods": dataclasses.asdict(settings.pods),
            **{
                name: getattr(settings, name)
                for name in ("image", "boot_file", "model_name", "node_count", "queue", "retries")
            },
            "metrics": settings.metrics != "off",
            "timeout": settings.timeout_seconds,
            "grace": settings.grace_seconds,
            "join": settings.join_seconds,
            "parameters": dict(settings.run_parameters),
            "executables": list(run.executables),
            "bars": [
                *(settings.min_accuracy, settings.min_metrics, settings.max_metrics),
                *(settings.max_decrease, settings.max_increase),
            ],
        }
    )


def _reached(store: Access) -> list[str]:
    """Return what of a store is in a Job: another key does not make another one."""
    keys = {ACCESS_KEY, SECRET_KEY} ^ store.variables.keys()
    return [store.endpoint, store.region, *sorted(keys)]


def _look(
    settings: Settings, cluster: Cluster, run_hash: str, *, patiently: bool
) -> tuple[tuple[Version, Manifest] | None] | None:
    """Return the intact version that the run has published, if any; None if nobody can tell.

    Args:
        settings: of the stack.
        cluster: where it is.
        run_hash: of the run.
        patiently: whether to wait for an in-stack store that is about to start, as it is when the
            cluster itself was started a moment ago.
    """
    place = model_place.find(settings, cluster)
    if place is None:
        return None
    try:
        try:
            found = models.newest_of_run(connection.connect(place.store), place.url, run_hash)
        except Unreachable:
            if not patiently or store_start.starting(place.store) is None:
                raise
            store = store_start.await_answer(place.store)
            found = models.newest_of_run(store, place.url, run_hash)
    except NoBucket:
        # The store answers: what was published is gone.
        return (None,)
    except StoreError as error:
        if isinstance(error, Unreachable) and not patiently:
            pulumi.log.warn(f"What is published counts as unchanged: it is not looked at. {error}")
        return None
    for damage in found.damaged[:1]:
        again = "" if found.version else " It is published again, from its last checkpoint."
        pulumi.log.warn(f"A published version is damaged: {damage.problem}.{again}")
    if found.version is None or found.manifest is None:
        return (None,)
    return ((found.version, found.manifest),)
