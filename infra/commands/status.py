"""How a stack is: its job, its models, what is served and where, read from cluster and bucket."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from store.errors import StoreError

from ..cluster import addresses, names, store_disk, troubles
from ..cluster.served import Served, of_template
from ..cluster.store_disk import Disk
from ..resources import roll_out
from ..run import run_record
from ..run.run_record import Progress, Record
from . import job_state, runs
from .deployed import Deployed
from .job_state import JobState
from .runs import Version

_Answer = TypeVar("_Answer")

_EVENTS = "api/v1/events"
_SETS = "apis/apps/v1/replicasets"
_CLAIMS = "api/v1/persistentvolumeclaims"
"""What says why something does not come up."""


@dataclass(frozen=True)
class Service:
    """A Deployment of the stack."""

    state: Literal["ready", "rolling out", "failed"]
    reason: str
    """Why it has failed, or does not come up; else empty."""
    ready: int
    replicas: int


@dataclass(frozen=True)
class Status:
    """What `python -m infra status` shows."""

    stack: str
    namespace: str
    job: JobState | None
    progress: Progress | None
    """How far the job is, if it trains and says so."""
    model_name: str
    """The one that is trained."""
    versions: Sequence[Version] | None
    """Of this model, the newest first; None if the bucket could not be read."""
    foreign: Sequence[Version]
    """Those of other models that are served."""
    problem: str
    """Why the bucket could not be read; empty if it could."""
    pinned: int | None
    """The version that is served whatever is newer; None: that of the configured run is."""
    deploys: bool
    """Whether what is published is served (`dlstack:deploy`)."""
    wanted: Served | None
    """What the prediction service was last told to serve."""
    served: Sequence[Served]
    """What its Service sends requests to: two while a roll-out is under way."""
    services: Mapping[str, Service | None]
    """Name -> state of prediction service, TensorBoard and in-stack object store."""
    store_disk: Disk | None
    """Of the in-stack object store; None: there is none, or nobody can tell."""
    addresses: Mapping[str, str]


def read(stack: Deployed, now: datetime) -> Status:
    """Ask the cluster and the bucket, all at once.

    Raises:
        pulumi.RunError: the cluster can't be asked. A bucket that can't be read is part of the
            status.
    """
    with ThreadPoolExecutor(8) as pool:

        def ask(question: Callable[..., _Answer], *words: Any) -> "Callable[[], _Answer]":
            return pool.submit(question, *words).result

        jobs = ask(stack.items, "apis/batch/v1/jobs")
        pods = ask(stack.items, "api/v1/pods")
        deployments = ask(stack.items, "apis/apps/v1/deployments")
        exposed = ask(stack.items, "api/v1/services")
        disk = ask(_disk, stack)
        job = job_state.newest(jobs())
        record = ask(lambda: _record(stack, job_state.run_hash(job)) if job else None)
        served = sorted(_served(pods()))
        published = ask(lambda: _versions(stack, served))
        by_name = {one["metadata"]["name"]: one for one in deployments()}
        told: dict[str, list[dict[str, Any]]] = {}
        if not _all_is_well(job, pods(), by_name.values()):
            asked = {kind: ask(stack.items, kind) for kind in (_EVENTS, _SETS, _CLAIMS)}
            told = {kind: answer() for kind, answer in asked.items()}
        versions, foreign, problem = published()
        return Status(
            stack=stack.name,
            namespace=stack.namespace,
            job=_job(job, pods(), now, told.get(_EVENTS, ()), record()) if job else None,
            progress=_progress(job, pods(), now, record()) if job else None,
            model_name=stack.model_name,
            versions=versions,
            foreign=foreign,
            problem=problem,
            pinned=stack.pinned_version,
            deploys=stack.deploys,
            wanted=of_template(
                by_name.get(names.PREDICTION, {}).get("spec", {}).get("template", {})
            ),
            served=served,
            services={
                name: _service(by_name[name], pods(), told) if name in by_name else None
                for name in _services(stack)
            },
            store_disk=disk(),
            addresses=addresses.of_services(exposed(), stack.host, stack.public_host, stack.routes),
        )


def as_json(status: Status) -> dict[str, Any]:
    """Return what `--json` prints. Keys are only ever added."""
    job = status.job
    return {
        "stack": status.stack,
        "namespace": status.namespace,
        "job": None
        if job is None
        else {
            "name": job.name,
            "state": job.state,
            "reason": job.reason or None,
            "runHash": job.run_hash,
            "attempt": job.attempt,
            "nodes": job.nodes,
            "started": job.started,
            "seconds": job.seconds,
            "progress": runs.progress_json(status.progress),
        },
        "model": status.model_name,
        "versions": None
        if status.versions is None
        else [
            {
                "version": one.version,
                "served": Served(status.model_name, one.version) in status.served,
                "metrics": dict(one.metrics),
                "runHash": one.run_hash,
                "created": one.created,
                "damage": one.damage or None,
            }
            for one in status.versions
        ],
        "served": [{"model": one.model_name, "version": one.version} for one in status.served],
        "wantedVersion": status.wanted.version if status.wanted else None,
        "wantedModel": status.wanted.model_name if status.wanted else None,
        "deploy": status.deploys,
        "pinnedVersion": status.pinned,
        "services": {
            name: None
            if one is None
            else {
                "state": one.state,
                "reason": one.reason or None,
                "ready": one.ready,
                "replicas": one.replicas,
            }
            for name, one in status.services.items()
        },
        "storeDisk": None
        if status.store_disk is None
        else {"bytes": status.store_disk.size, "free": status.store_disk.free},
        "addresses": dict(status.addresses),
        "problem": status.problem or None,
    }


def _services(stack: Deployed) -> list[str]:
    own = [names.OBJECT_STORE] if stack.store["in_stack"] else []
    return [names.PREDICTION, names.TENSORBOARD, *own]


def _disk(stack: Deployed) -> Disk | None:
    if not stack.store["in_stack"]:
        return None
    return store_disk.look(stack.cluster, stack.namespace)


def _versions(
    stack: Deployed, served: Sequence[Served]
) -> tuple[list[Version] | None, list[Version], str]:
    """Return the stack's versions, those of other models that are served, and what went wrong."""
    try:
        client, bucket = stack.connect(), stack.output_bucket
        found = runs.versions(client, bucket, stack.model_name)
        others = {one.model_name for one in served} - {stack.model_name}
        of_others = [one for name in sorted(others) for one in runs.versions(client, bucket, name)]
    except StoreError as exc:
        return None, [], str(exc)
    return found, [one for one in of_others if Served(one.model, one.version) in served], ""


def _record(stack: Deployed, run: str) -> Record | None:
    try:
        return run_record.of_run(stack.connect(), stack.output_bucket, run)
    except StoreError:
        # Reading the versions says why.
        return None


def _job(
    job: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    now: datetime,
    events: Sequence[Mapping[str, Any]],
    record: Record | None,
) -> JobState:
    """Return how the job is; the record of its run has more of a log than the end of a pod."""
    found = job_state.state_of(job, pods, now, events)
    if found.state == "failed":
        _, cause = runs.state_of(record, found, published=False)
        return replace(found, reason=cause)
    return found


def _progress(
    job: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    now: datetime,
    record: Record | None,
) -> Progress | None:
    if record is None or record.state != "running":
        return None
    trains = job_state.state_of(job, pods, now).state == "running"
    return record.progress if trains else None


def _all_is_well(
    job: Mapping[str, Any] | None,
    pods: Sequence[Mapping[str, Any]],
    deployments: Iterable[Mapping[str, Any]],
) -> bool:
    """Say whether there is nothing whose reasons are to be asked for."""
    trains_or_has = job is None or job_state.state_of(job, pods, datetime.now(UTC)).state in (
        "running",
        "succeeded",
    )
    return trains_or_has and all(roll_out.is_complete(dict(one)) for one in deployments)


def _service(
    deployment: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    told: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Service:
    found = dict(deployment)
    replicas = int(deployment["spec"]["replicas"])
    ready = int(deployment.get("status", {}).get("readyReplicas", 0))
    if roll_out.is_complete(found):
        return Service("ready", "", ready, replicas)
    failure = roll_out.failure_of(found)
    trouble = troubles.of_deployment(
        deployment, told.get(_SETS, ()), pods, told.get(_EVENTS, ()), told.get(_CLAIMS, ())
    )
    failed = failure or (trouble is not None and trouble.hopeless)
    reason = str(trouble) if trouble else failure or ""
    return Service("failed" if failed else "rolling out", reason, ready, replicas)


def _served(pods: Sequence[Mapping[str, Any]]) -> set[Served]:
    """Return what the prediction service's pods serve that are Ready.

    A pod that is about to end stays Ready for seconds, but gets no new requests.
    """
    found = set()
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        conditions = pod.get("status", {}).get("conditions", [])
        is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        labels = pod["metadata"].get("labels", {})
        if is_ready and labels.get("app.kubernetes.io/name") == names.PREDICTION:
            serves = of_template(pod)
            if serves is not None:
                found.add(serves)
    return found
