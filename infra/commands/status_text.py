"""A stack's status as tables for a terminal."""

from collections.abc import Iterable
from datetime import datetime

from ..cluster import names, store_disk
from ..cluster.served import Served
from ..resources.published_model import RESTORE_OR_TRAIN
from ..run.run_hash import short
from ..run.run_record import progress_text
from . import tables
from .job_state import JobState
from .runs import Version
from .runs_text import metrics_text
from .status import Service, Status


def status_text(status: Status, width: int | None, now: datetime) -> str:
    """Return the table of `python -m infra status`.

    Args:
        status: what is to be shown.
        width: of the terminal; None: as wide as it gets.
        now: the present time.
    """
    place = f"namespace {status.namespace}" if status.namespace != status.stack else ""
    rows = [("stack", status.stack, place), ("job", *_job(status.job))]
    if status.progress is not None:
        rows.append(("", "", progress_text(status.progress, now)))
    for name, one in status.services.items():
        state, detail = _service(one)
        if name == names.PREDICTION and one is not None:
            state, detail = _prediction(status, one, detail)
        elif name == names.PREDICTION and not status.deploys:
            state, detail = "none", "dlstack:deploy is false"
        if one is not None and one.reason:
            detail += f": {one.reason}"
        rows.append((name.replace("-", " "), state, detail))
    labels = {"grpc": "gRPC", "rest": "REST", "page": "page", "tensorboard": "TensorBoard"}
    shown = [
        (label, _for_people(name, status.addresses[name]))
        for name, label in labels.items()
        if name in status.addresses
    ]
    parts = [tables.table(rows, width, wrapped=2)]
    if status.versions or status.foreign:
        parts.append(_versions([*(status.versions or ()), *status.foreign], status, width))
    if status.versions is not None and not status.versions:
        parts.append(f"no version of the model '{status.model_name}' is published yet")
    if status.pinned is not None and status.versions is not None:
        parts.append(tables.paragraph(_pin(status.pinned, status.versions), width))
    if not status.deploys and status.versions and (withheld := _withheld(status)):
        parts.append(withheld)
    if status.store_disk is not None and status.store_disk.is_nearly_full:
        parts.append(tables.paragraph(store_disk.advice(status.store_disk), width))
    if shown:
        parts.append(tables.table(shown, width))
    return "\n\n".join(parts)


def _for_people(name: str, address: str) -> str:
    """Return what opens an address: TensorBoard's is for pods only, as a rule."""
    inside = name == "tensorboard" and f"//{names.TENSORBOARD}." in address
    return "python -m infra tensorboard" if inside else address


def _job(job: JobState | None) -> tuple[str, str]:
    if job is None:
        return "none", ""
    nodes = f"{job.nodes} nodes" if job.nodes > 1 else "1 node"
    parts = [f"run {short(job.run_hash)}", nodes, f"attempt {job.attempt}"]
    if job.started and job.seconds is not None:
        verb = "since" if job.state in ("running", "pending") else "started"
        parts.append(f"{verb} {tables.moment(datetime.fromisoformat(job.started))}")
        parts.append(tables.duration(job.seconds))
    detail = ", ".join(parts)
    return job.state, f"{detail}: {job.reason}" if job.reason else detail


def _service(service: Service | None) -> tuple[str, str]:
    if service is None:
        return "not there yet", ""
    return service.state, f"{service.ready} of {service.replicas} pods"


def _prediction(status: Status, service: Service, detail: str) -> tuple[str, str]:
    served = " and ".join(_named(one, status.model_name) for one in status.served)
    if service.state == "ready" and served:
        return "serving", f"{served}, {detail}"
    wanted = f"{_named(status.wanted, status.model_name)}, " if status.wanted else ""
    return service.state, f"{wanted}{detail}; answers now: {served or 'nothing'}"


def _named(one: Served, model_name: str) -> str:
    """Return `version 3`, and of which model where that is another than the stack's."""
    return f"version {one.version}" if one.model_name == model_name else str(one)


def _withheld(status: Status) -> str:
    """Return which version is published and not served, and how to serve it."""
    intact = [one.version for one in status.versions or () if not one.damage]
    newest = Served(status.model_name, max(intact, default=0))
    if not intact or newest in status.served:
        return ""
    return (
        f"Version {newest.version} is published and not served. To serve it:\n"
        "pulumi config set dlstack:deploy true && pulumi up"
    )


def _versions(versions: Iterable[Version], status: Status, width: int | None) -> str:
    rows = [("model", "version", "", "metrics", "run", "published")]
    rows += [
        (
            one.model,
            str(one.version),
            " ".join(_use(one, status)),
            metrics_text(one.metrics),
            short(one.run_hash),
            tables.moment(datetime.fromisoformat(one.created)) if one.created else "",
        )
        for one in versions
    ]
    return tables.table(rows, width, heading=True, wrapped=3)


def _pin(pinned: int, versions: Iterable[Version]) -> str:
    known = {one.version: one for one in versions}
    newer = [one.version for one in known.values() if one.version > pinned and not one.damage]
    if pinned not in known or known[pinned].damage:
        state = "is damaged" if pinned in known else "is not published"
        if all(one.damage for one in known.values()):
            return (
                f"Version {pinned} is pinned, but {state}, and none is intact. {RESTORE_OR_TRAIN}"
            )
        return (
            f"Version {pinned} is pinned, but {state}. Set dlstack:modelVersion to another one, or "
            "serve that of the configured run:\n"
            "pulumi config rm dlstack:modelVersion && pulumi up"
        )
    withheld = f" Version {max(newer)} is newer, and is not served." if newer else ""
    return (
        f"Version {pinned} is pinned: nothing is trained.{withheld} The way forward:\n"
        "pulumi config rm dlstack:modelVersion && pulumi up"
    )


def _use(version: Version, status: Status) -> list[str]:
    served = Served(version.model, version.version) in status.served
    uses = {"served": served, "damaged": bool(version.damage)}
    return [use for use, is_so in uses.items() if is_so]
