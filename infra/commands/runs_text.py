"""Training runs as tables for a terminal: all of them, one, or two side by side."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from ..run.run_record import progress_text
from . import tables
from .comparison import differences, files_text, variables
from .runs import Run

_OF_THE_TRAINER = ("steps", "train_seconds", "steps_per_second", "export_seconds")
"""What `training.trainer` writes beside the metrics: of one run, and in `--json`, all is shown."""


def runs_text(runs: Sequence[Run], width: int | None, now: datetime, sort: str = "") -> str:
    """Return the table of `python -m infra runs`.

    Parameters that differ and metrics are columns as long as there is room, and then stand below.

    Args:
        runs: in the order in which they are shown.
        width: of the terminal; None: as wide as it gets.
        now: the present time.
        sort: what they are sorted by: it has the first column of these.
    """
    columns = [
        ["run", *(run.run for run in runs)],
        ["model", *(run.model for run in runs)],
        ["state", *(run.state for run in runs)],
        ["version", *map(_version, runs)],
        ["started", *map(_started, runs)],
        ["duration", *map(_duration, runs)],
    ]
    more = _values(runs, sort.removeprefix("-"))
    filled = [[name, *(one.get(run.run, "") for run in runs)] for name, one in more.items()]
    number = tables.fitting(filled, width, tables.width_of(columns))
    columns += filled[:number]
    left = list(more.items())[number:]
    below = [""]
    for run in runs:
        given = (f"{name} {one[run.run]}" for name, one in left if run.run in one)
        values = tables.printable("  ".join(given))
        below.append("\n".join(line for line in (values, _remark(run, now)) if line))
    return tables.table(
        [*zip(*columns, strict=True)], width, heading=True, wrapped=None, below=below
    )


def run_text(run: Run, width: int | None, now: datetime) -> str:
    """Return all that is known of one run."""
    rows = [
        ("run", run.run),
        ("model", run.model),
        ("state", run.state + (f": {run.cause}" if run.cause else "")),
        ("progress", _progress(run, now)),
        ("published", ", ".join(f"{one.model} {one.version}" for one in run.published)),
        ("started", tables.moment(run.started) if run.started else ""),
        ("duration", _duration(run)),
        ("phases", _named(run.document.get("seconds") or {}, " s")),
        ("attempt", str(run.record.attempt) if run.record else ""),
        ("parameters", _lines(dict(sorted((run.parameters or {}).items())))),
        ("metrics", _lines({name: number_text(one) for name, one in run.metrics.items()})),
    ]
    provenance = run.document.get("provenance") or {}
    rows.append(("variables", _lines(variables(provenance))))
    said = {**run.document, **provenance}
    names = {"boot_file": "boot file", "commit": "commit", "image": "image", "node_count": "nodes"}
    rows += [(text, str(said[name])) for name, text in names.items() if said.get(name) is not None]
    return tables.table([row for row in rows if row[1]], width, wrapped=1)


def two_runs_text(one: Run, other: Run, width: int | None) -> str:
    """Return the table of `python -m infra runs A B`: what differs between two runs."""
    found = differences(one, other)
    rows = [
        ("", one.run, other.run, ""),
        ("model", one.model, other.model, ""),
        ("state", one.state, other.state, ""),
        ("version", _version(one), _version(other), ""),
        ("started", _started(one), _started(other), ""),
        ("duration", _duration(one), _duration(other), ""),
    ]
    rows += [(name, *_pair(value), "") for name, value in found.settings.items()]
    rows += [(name, *_pair(value), "") for name, value in found.parameters.items()]
    rows += [
        (name, *_pair(value), _change(*value))
        for name, value in found.metrics.items()
        if name not in _OF_THE_TRAINER
    ]
    parts = [tables.table(rows, width, wrapped=2)]
    files = [(part, files_text(changes)) for part, changes in found.files.items()]
    if files:
        parts.append(tables.table(files, width, wrapped=1))
    causes = [(run.run, run.cause) for run in (one, other) if run.cause]
    if causes:
        parts.append(tables.table(causes, width, wrapped=1))
    parts += [tables.paragraph(text, width) for text in found.unknown]
    if not (found.settings or found.parameters or found.files or found.unknown):
        parts.append(
            "Both were given the same: code, data, parameters, variables, image and nodes."
        )
    return "\n\n".join(parts)


def metrics_text(metrics: Mapping[str, object]) -> str:
    """Return a model's metrics: `accuracy 0.9927, loss 0.0221`."""
    own = {name: value for name, value in metrics.items() if name not in _OF_THE_TRAINER}
    return ", ".join(f"{name} {number_text(value)}" for name, value in own.items())


def number_text(value: object) -> str:
    """Return a metric in as many digits as tell something."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values(runs: Sequence[Run], first: str) -> dict[str, dict[str, str]]:
    """Return name -> run -> text of the parameters that differ, and of the metrics, in order."""
    given = {run.run: run.parameters or {} for run in runs}
    names = sorted({name for one in given.values() for name in one})
    # In a run of another model a parameter may be absent: it differs.
    differ = [name for name in names if len({one.get(name) for one in given.values()}) > 1]
    found = {
        name: {run: one[name] for run, one in given.items() if name in one}
        for name in names
        if name in differ or name == first
    }
    measured = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in measured:
        if name not in _OF_THE_TRAINER or name == first:
            key = name if name not in found else f"{name} (metric)"
            found[key] = {
                run.run: number_text(run.metrics[name]) for run in runs if name in run.metrics
            }
    if first in found:
        found = {first: found[first], **found}
    return found


def _lines(values: Mapping[str, str]) -> str:
    """Return a line for each value, whatever is in it."""
    return "\n".join(tables.printable(f"{name} {one}") for name, one in values.items())


def _version(run: Run) -> str:
    """Return the numbers that a run published, and the model if it was another one then."""
    newest: dict[str, int] = {}
    for one in run.published:
        newest.setdefault(one.model, one.version)
    return ", ".join(
        str(number) if model == run.model else f"{model} {number}"
        for model, number in newest.items()
    )


def _started(run: Run) -> str:
    return tables.minute(run.started) if run.started else ""


def _duration(run: Run) -> str:
    return tables.duration(run.seconds) if run.seconds is not None else ""


def _progress(run: Run, now: datetime) -> str:
    if run.record is None or run.record.progress is None or run.state == "succeeded":
        return ""
    text = progress_text(run.record.progress, now)
    # What has ended goes nowhere any more.
    return text if run.state == "running" else text.partition(", about ")[0]


def _remark(run: Run, now: datetime) -> str:
    """Return why a run has not succeeded, and how far it is or got."""
    progress = _progress(run, now)
    if not run.cause:
        return progress
    got = run.record.progress if run.record else None
    stopped = progress and got is not None and got.done < got.total
    return f"{run.cause}{f' (at {progress})' if stopped else ''}"


def _named(values: Mapping[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:.1f}{unit}" for name, value in values.items())


def _pair(value: tuple[object, object]) -> tuple[str, str]:
    old, new = ("-" if one is None else number_text(one) for one in value)
    return old, new


def _change(old: object, new: object) -> str:
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return ""
    return f"{new - old:+.4g}"
