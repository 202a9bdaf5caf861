"""Which runs a command line means, and in which order."""

from collections.abc import Sequence
from typing import Any

import pulumi

from ..run.run_hash import short
from .runs import Run


def of_model(found: Sequence[Run], model: str) -> list[Run]:
    """Return the runs of a model. Raises pulumi.RunError if there is none."""
    mine = [
        run for run in found if model == run.model or any(model == v.model for v in run.published)
    ]
    if not mine:
        names = sorted({run.model for run in found if run.model})
        raise pulumi.RunError(
            f"--model '{model}' has no run. Runs are known of: {', '.join(names) or 'no model'}."
        )
    return mine


def in_order(found: Sequence[Run], by: str) -> list[Run]:
    """Return the runs sorted by a metric, a parameter, `started` or `duration`.

    With `-` before it the highest is the first. Runs without it are the last.

    Raises:
        pulumi.RunError: no run has it.
    """
    name = by.removeprefix("-")
    values = {run.run: _value(run, name) for run in found}
    with_it = [run for run in found if values[run.run] is not None]
    if not with_it and found:
        names = sorted({name for run in found for name in (*run.metrics, *(run.parameters or {}))})
        raise pulumi.RunError(
            f"--sort '{by}': no run has a metric or parameter '{name}'. Use one of: "
            f"{', '.join(['started', 'duration', *names])}."
        )
    with_it.sort(key=lambda run: values[run.run], reverse=by.startswith("-"))
    return with_it + [run for run in found if values[run.run] is None]


def _value(run: Run, name: str) -> Any:
    """Return what a run is sorted by; a metric before a parameter of the same name."""
    if name == "started":
        return (run.started.timestamp(), "") if run.started else None
    if name == "duration":
        return (run.seconds, "") if run.seconds is not None else None
    if name in run.metrics:
        return run.metrics[name], ""
    return _number((run.parameters or {}).get(name))


def _number(text: str | None) -> tuple[float, str] | None:
    """Return what a parameter is sorted by: numbers by their value, before texts."""
    if text is None:
        return None
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def the_run(prefix: str, hashes: Sequence[str], flag: str = "--run ") -> str:
    """Return the one of the `hashes` that begins with `prefix`.

    Args:
        prefix: some first digits of a hash, or all.
        hashes: of the runs that are known, or their first digits, the newest first.
        flag: what stands before the prefix in the command line.

    Raises:
        pulumi.RunError: there is none, or more than one.
    """
    found = {short(run): run for run in hashes if _fits(run, prefix)}
    if len(found) == 1:
        return next(iter(found.values()))
    shown = ", ".join(dict.fromkeys(short(run) for run in hashes[:10])) or "none"
    problem = f"fits {len(found)} runs: {', '.join(found)}" if found else "fits no run"
    advice = "Give more digits" if found else f"These runs are known, the newest first: {shown}"
    raise pulumi.RunError(f"{flag}'{prefix}' {problem}. {advice}.")


def _fits(run: str, prefix: str) -> bool:
    # Folders have only the first digits of a hash, and a whole hash may be asked for.
    return run.startswith(prefix) or (run == short(run) and prefix.startswith(run))
