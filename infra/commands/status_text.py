"""A stack's status, and its runs, as tables for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ..cluster import names
from ..run.run_hash import short
from .job_state import JobState
from .runs import Run, Version
from .status import Service, Status

_METRICS_SHOWN = 4


def status_text(status: Status) -> str:
    """Return the table of `python -m infra status`."""
    place = f"namespace {status.namespace}" if status.namespace != status.stack else ""
    rows = [("stack", status.stack, place), ("job", *_job(status.job))]
    for name, one in status.services.items():
        state, detail = _service(one)
        if name == names.PREDICTION and one is not None:
            state, detail = _prediction(status, one, detail)
        if one is not None and one.reason:
            detail += f": {one.reason}"
        rows.append((name.replace("-", " "), state, detail))
    labels = {"grpc": "gRPC", "rest": "REST", "page": "page", "tensorboard": "TensorBoard"}
    shown = [
        (label, status.addresses[name], "")
        for name, label in labels.items()
        if name in status.addresses
    ]
    parts = [_table(rows)]
    if status.versions:
        parts.append(_versions(status.model_name, status.versions, status.served))
    elif status.versions is not None:
        parts.append(f"no version of the model '{status.model_name}' is published yet")
    if status.pinned is not None and status.versions is not None:
        parts.append(_pin(status.pinned, status.versions))
    if shown:
        parts.append(_table(shown))
    return "\n\n".join(parts)


def runs_text(runs: Sequence[Run]) -> str:
    """Return the table of `python -m infra runs`."""
    rows = [("run", "log until", "published", "metrics")]
    for run in runs:
        version = f"version {run.version.version}" if run.version else "nothing"
        figures = metrics_text(run.version.metrics) if run.version else ""
        rows.append((run.run, _moment(run.written), version, figures))
    return _table(rows)


def metrics_text(metrics: Mapping[str, object]) -> str:
    """Return the first of a model's metrics: `accuracy 0.9927, loss 0.0221`."""
    shown = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in list(metrics.items())[:_METRICS_SHOWN]
    ]
    return ", ".join(shown) + (", …" if len(metrics) > _METRICS_SHOWN else "")


def duration_text(seconds: float) -> str:
    """Return `41 s`, `3 min 5 s` or `2 h 3 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _job(job: JobState | None) -> tuple[str, str]:
    if job is None:
        return "none", ""
    nodes = f"{job.nodes} nodes" if job.nodes > 1 else "1 node"
    parts = [f"run {short(job.run_hash)}", nodes, f"attempt {job.attempt}"]
    if job.started and job.seconds is not None:
        verb = "since" if job.state in ("running", "pending") else "started"
        parts.append(f"{verb} {_moment(datetime.fromisoformat(job.started))}")
        parts.append(duration_text(job.seconds))
    detail = ", ".join(parts)
    return job.state, f"{detail}: {job.reason}" if job.reason else detail


def _service(service: Service | None) -> tuple[str, str]:
    if service is None:
        return "not there yet", ""
    return service.state, f"{service.ready} of {service.replicas} pods"


def _prediction(status: Status, service: Service, detail: str) -> tuple[str, str]:
    served = " and ".join(map(str, status.served)) or "none"
    if service.state == "ready" and status.served:
        return "serving", f"version {served}, {detail}"
    return service.state, f"version {status.wanted}, {detail}; answers now: {served}"


def _versions(model: str, versions: Iterable[Version], served: Sequence[int]) -> str:
    rows = [("model", "version", "", "metrics", "run", "published")]
    rows += [
        (
            model,
            str(one.version),
            " ".join(_use(one, served)),
            metrics_text(one.metrics),
            short(one.run_hash),
            _moment(datetime.fromisoformat(one.created)) if one.created else "",
        )
        for one in versions
    ]
    return _table(rows)


def _pin(pinned: int, versions: Iterable[Version]) -> str:
    known = {one.version: one for one in versions}
    newer = [one.version for one in known.values() if one.version > pinned and not one.damage]
    if pinned not in known or known[pinned].damage:
        state = "is damaged" if pinned in known else "is not published"
        return (
            f"Version {pinned} is pinned, but {state}. Set dlstack:modelVersion to another one, or "
            "serve the newest:\npulumi config rm dlstack:modelVersion && pulumi up"
        )
    withheld = f" Version {max(newer)} is newer, and is not served." if newer else ""
    return (
        f"Version {pinned} is pinned: nothing is trained.{withheld} The way forward:\n"
        "pulumi config rm dlstack:modelVersion && pulumi up"
    )


def _use(version: Version, served: Sequence[int]) -> list[str]:
    uses = {"served": version.version in served, "damaged": bool(version.damage)}
    return [use for use, is_so in uses.items() if is_so]


def _moment(moment: datetime) -> str:
    """Return a time in the reader's own zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)
