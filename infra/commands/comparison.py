"""What differs between two training runs: what they were given, and what came of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .runs import Run

Change = Literal["changed", "new", "gone"]

_SETTINGS = {
    "boot_file": "boot file",
    "image": "image",
    "node_count": "nodes",
    "commit": "commit",
    "run_hash_version": "run hash version",
}
_PARTS = {"code": "code", "data": "data", "library": "dlstack's library"}
_FILES_SHOWN = 12


@dataclass(frozen=True)
class Difference:
    """What the second of two runs has other than the first; nothing of what is the same."""

    settings: Mapping[str, tuple[object, object]]
    """Boot file, image, nodes, commit, variables of the environment; None where one lacks it."""
    parameters: Mapping[str, tuple[str | None, str | None]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    files: Mapping[str, Mapping[str, Change]]
    """Part of the run -> path -> what became of it; no path where the files are not known."""
    unknown: list[str]
    """What can't be compared, in sentences."""


def differences(one: Run, other: Run) -> Difference:
    """Compare two runs by their records and manifests."""
    before, now = _said(one), _said(other)
    unknown = [
        f"Of the run {run.run} neither parameters nor files are known: an earlier dlstack made it, "
        "and it published nothing."
        for run, said in ((one, before), (other, now))
        if not said
    ]
    if unknown:
        return Difference({}, {}, _pairs(one.metrics, other.metrics), {}, unknown)
    settings = {
        text: (before.get(name), now.get(name))
        for name, text in _SETTINGS.items()
        if before.get(name) != now.get(name)
    }
    settings |= _pairs(variables(before), variables(now))
    files = {}
    for part, text in _PARTS.items():
        key = f"{part}_sha256"
        if before.get(key) != now.get(key):
            files[text] = dict(_changes(_sources(one).get(part), _sources(other).get(part)))
    return Difference(
        settings,
        _pairs(one.parameters or {}, other.parameters or {}),
        _pairs(one.metrics, other.metrics),
        files,
        [],
    )


def as_json(found: Difference) -> dict[str, Any]:
    """Return what `python -m infra runs A B --json` prints of it."""
    return {
        "settings": {name: list(pair) for name, pair in found.settings.items()},
        "parameters": {name: list(pair) for name, pair in found.parameters.items()},
        "metrics": {name: list(pair) for name, pair in found.metrics.items()},
        "files": {part: dict(changes) for part, changes in found.files.items()},
        "unknown": found.unknown,
    }


def files_text(changes: Mapping[str, Change]) -> str:
    """Return the files that differ, a few by name."""
    if not changes:
        return "differs; which files is not known"
    named = [
        path if change == "changed" else f"{path} ({change})" for path, change in changes.items()
    ]
    if len(named) > _FILES_SHOWN + 1:
        named[_FILES_SHOWN:] = [f"{len(named) - _FILES_SHOWN} more files (--json has all)"]
    return ", ".join(named)


def _said(run: Run) -> dict[str, Any]:
    """Return what a run says that it was given; empty if it says nothing."""
    provenance = dict(run.document.get("provenance") or {})
    for name in ("boot_file", "commit"):
        if run.document.get(name):
            provenance[name] = run.document[name]
    return provenance


def variables(said: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that a run was given by their keys; those of `secretEnv` by name."""
    found = {f"env.{name}": str(value) for name, value in (said.get("env") or {}).items()}
    return found | {f"secretEnv.{name}": "(secret)" for name in said.get("secret_env") or ()}


def _sources(run: Run) -> Mapping[str, Mapping[str, str]]:
    return run.document.get("sources") or {}


def _pairs(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (before.get(name), now.get(name))
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    }


def _changes(
    before: Mapping[str, str] | None, now: Mapping[str, str] | None
) -> Iterator[tuple[str, Change]]:
    if before is None or now is None:
        return
    for path in sorted({*before, *now}):
        if before.get(path) != now.get(path):
            yield path, "new" if path not in before else "gone" if path not in now else "changed"
