"""Why a run is another one than that of a published version: which part of the run hash changed.

Pure functions over the version's manifest. Versions that an earlier dlstack published say less of
themselves, and the reasons are shorter.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from .planned import PlannedRun

_NAMES = 3
"""So many files are named."""

_VALUE = 60
"""So many characters of a value are shown."""

_NOT_SET = "(not set)"


def of(
    run: PlannedRun,
    manifest: Mapping[str, Any],
    *,
    parameters: Mapping[str, str],
    code_dir: str,
    data_dir: str,
    own_image: bool,
) -> list[str]:
    """Return a line for each part that differs, in words of the configuration.

    Args:
        run: that there is to be.
        manifest: of the version that it is compared with.
        parameters: run parameters of the run.
        code_dir: the code folder as configured.
        data_dir: the data set as configured.
        own_image: whether `dlstack:image` is set; else the run has the runtime image.
    """
    before: Mapping[str, Any] = manifest.get("provenance") or {}
    sources: Mapping[str, Mapping[str, str]] = manifest.get("sources") or {}

    now = run.sources

    def files(part: str) -> str:
        return _files(sources.get(part), now.get(part))

    def differs(key: str) -> bool:
        return key in before and before[key] != run.provenance[key]

    found = []
    if differs("code_sha256"):
        found.append(f"the code in {code_dir} changed{files('code')}")
    if differs("boot_file"):
        found.append(
            f"dlstack:bootFile: {_arrow(before['boot_file'], run.provenance['boot_file'])}"
        )
    found += _values("runParameters", manifest.get("parameters") or {}, parameters)
    if "code_sha256" in before:
        found += _values("env", before.get("env") or {}, run.provenance.get("env") or {})
        names = {*(before.get("secret_env") or ())} ^ {*(run.provenance.get("secret_env") or ())}
        found += [f"dlstack:secretEnv: {name} came or went" for name in sorted(names)]
    if differs("data_sha256"):
        found.append(f"the data in {data_dir} changed{files('data')}")
    if differs("image"):
        key = "image" if own_image else "runtimeImage"
        found.append(f"dlstack:{key}: {_arrow(before['image'], run.provenance['image'])}")
    if differs("node_count"):
        found.append(
            f"dlstack:nodeCount: {_arrow(before['node_count'], run.provenance['node_count'])}"
        )
    if before.get("run_hash_version", 1) != run.provenance["run_hash_version"]:
        found.append("this version of dlstack trains in another way (docs/upgrading.md)")
    elif differs("library_sha256"):
        found.append(f"dlstack's training library changed{files('library')}")
    return found


def _values(key: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*before, *now}):
        old, new = before.get(name, _NOT_SET), now.get(name, _NOT_SET)
        if old != new:
            yield f"dlstack:{key}.{name}: {_arrow(old, new)}"


def _arrow(before: object, now: object) -> str:
    return f"{_shown(before)} -> {_shown(now)}"


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 1]}…"


def _files(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> str:
    """Return `: ` and the names of the files that changed; nothing where they are not known."""
    if before is None or now is None:
        return ""
    named = [
        path + (" (new)" if path not in before else " (gone)" if path not in now else "")
        for path in sorted({*before, *now})
        if before.get(path) != now.get(path)
    ]
    if len(named) > _NAMES + 1:
        named[_NAMES:] = [f"{len(named) - _NAMES} more files"]
    return f": {', '.join(named)}"
