"""What an `up` does about training: which run there is to be, and whether it needs a Job."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from store import models
from store.errors import NoBucket, StoreError, Unreachable
from store.models import Manifest, Version
from store.urls import S3Url

from ..cluster import api, description, ending, names
from ..cluster.clusters import Cluster
from ..cluster.jobs import end_of, is_of_a_run
from ..components import training_job
from ..resources import connection, deployed_store
from ..resources.moving import is_elsewhere
from ..run import attempts, git, packages
from ..run.attempts import Attempt
from ..run.planned import PlannedRun
from ..run.run_hash import digest
from ..settings.settings import Settings
from . import announcements

_START_SECONDS = 60
"""How long a store that is about to start may take: on a busy machine some 30 s."""


@dataclass(frozen=True)
class Plan:
    """What was decided before anything is declared."""

    library: Mapping[str, str]
    """Path -> SHA-256 of the package `training`."""
    run: PlannedRun | None
    """None: a version is pinned, and nothing is trained."""
    digest: str
    """Of all that the run's Job is made of; empty without a run."""
    attempt: Attempt | None
    """None: the run needs no Job, since what it makes is published."""
    published: int | None
    """The intact version of the run in the bucket; None: there is none, or nobody has looked."""
    others: Sequence[str]
    """Names of the Jobs in the cluster that are not the one that there is to be."""


def plan(settings: Settings, cluster: Cluster) -> Plan:
    """Look at the working tree, at the Jobs in the cluster and, if they leave it open, the bucket.

    A bucket that can't be looked at counts as if all were well there.
    """
    jobs = ending.jobs(cluster, settings.namespace)
    if settings.model_version is not None:
        announcements.tell_what_is_withheld(settings, _bucket(settings, cluster))
        return Plan(packages.read("training"), None, "", None, None, _others(jobs, ""))
    run = PlannedRun.of(settings)
    made_of = _digest(settings, run)
    job = attempts.latest(jobs, run.hash)
    stands = attempts.stands(job, made_of)
    found, lost = None, False
    # As long as it trains there is nothing that could be lost.
    if job is None or not stands or end_of(job) is not None:
        looked = _look(settings, cluster, run.hash, patiently=not stands)
        found = looked[0] if looked else None
        lost = bool(looked) and found is None
    if found is not None and not stands and _passes(found[1], settings):
        attempt = None
    else:
        attempt = attempts.next_attempt(
            job, made_of, lambda: git.commit(settings.code_dir, run.code), lost=lost
        )
    if attempt is not None and (job is None or attempts.number_of(job) != attempt.number):
        announcements.tell_what_is_trained(settings, run, _bucket(settings, cluster), found)
    return Plan(
        library=run.library,
        run=run,
        digest=made_of,
        attempt=attempt,
        published=found[0].number if found else None,
        others=_others(jobs, attempts.job_name(run.hash, attempt) if attempt else ""),
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
            "object_store": [store.endpoint, store.region] if store else None,
            "namespace": settings.namespace,
            "buckets": [settings.data_bucket, settings.output_bucket],
            "data_dir": str(settings.data_dir) if "://" in settings.data_dir else None,
            "provenance": dict(run.provenance),
            "flavour": dataclasses.asdict(settings.flavour),
            **{
                name: getattr(settings, name)
                for name in ("image", "boot_file", "model_name", "node_count", "retries")
            },
            "timeout": settings.timeout_seconds,
            "parameters": dict(settings.run_parameters),
            "bars": [settings.min_accuracy, settings.min_metrics, settings.max_metrics],
        }
    )


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
    place = _bucket(settings, cluster)
    if place is None:
        return None
    try:
        store = connection.connect(place[0])
        try:
            found = models.newest_of_run(store, place[1], run_hash)
        except Unreachable:
            if not patiently or not _is_starting(place[0]):
                raise
            pulumi.log.info("The object store is about to start. It is waited for.")
            store = connection.connect_when_it_answers(place[0], _START_SECONDS)
            found = models.newest_of_run(store, place[1], run_hash)
    except NoBucket:
        # The store answers: what was published is gone.
        return (None,)
    except StoreError:
        return None
    for damage in found.damaged[:1]:
        again = "" if found.version else " It is published again, from its last checkpoint."
        pulumi.log.warn(f"A published version is damaged: {damage.problem}.{again}")
    if found.version is None or found.manifest is None:
        return (None,)
    return ((found.version, found.manifest),)


def _is_starting(store: connection.Store) -> bool:
    """Say whether the stack's own store is to run, and is not Ready yet."""
    path = f"/apis/apps/v1/namespaces/{store['namespace']}/deployments/{names.OBJECT_STORE}"
    found = api.get(store["cluster"], path) if store["in_stack"] else None
    return bool(found and found["spec"]["replicas"]) and not (
        (found or {}).get("status", {}).get("readyReplicas")
    )


def _bucket(settings: Settings, cluster: Cluster) -> tuple[connection.Store, S3Url] | None:
    """Return store and URL of the model, as the stack has them now; None if it has none.

    What is in another store than the settings name is copied there before it is looked for.
    """
    path = f"/api/v1/namespaces/{settings.namespace}/configmaps/{names.DESCRIPTION}"
    document = api.get(cluster, path)
    if document is None:
        return None
    try:
        told = description.read(document["data"])
    except KeyError:
        # Of a namespace that is not a stack's: who declares it says so.
        return None
    now = deployed_store.of(told, cluster, settings.namespace)
    wanted = {**now, "in_stack": settings.store is None}
    if settings.store is not None:
        wanted |= {"endpoint": settings.store.endpoint, "region": settings.store.region}
    if told.output_bucket != settings.output_bucket and not is_elsewhere(
        {"store": now}, {"store": wanted}
    ):
        # Another name in the same store is another bucket, and begins empty.
        return None
    return now, S3Url(told.output_bucket, f"models/{settings.model_name}")


def _passes(manifest: Manifest, settings: Settings) -> bool:
    """Say whether a published model passes the bars; if not, its Job says by how much."""
    lowest = dict(settings.min_metrics)
    if settings.min_accuracy is not None:
        lowest["accuracy"] = max(settings.min_accuracy, lowest.get("accuracy", 0.0))
    metrics = manifest.metrics
    return all(name in metrics and metrics[name] >= bar for name, bar in lowest.items()) and all(
        name in metrics and metrics[name] <= bar for name, bar in settings.max_metrics.items()
    )
