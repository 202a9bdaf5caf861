"""From `requirements.txt` to the Python that has what it asks for."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from store.errors import StoreError
from training.agent.packages import image, requirement_files
from training.agent.packages.pip import Pip, install_wheels
from training.agent.packages.requirement_files import Requirements
from training.agent.packages.wheel_store import WheelStore
from training.command_line import TrainingError

_NAMED = 12


def install(
    code_dir: Path,
    boot_file: str,
    work_dir: Path,
    *,
    say: Callable[[str], None],
    variables: Mapping[str, str],
    kept: WheelStore | None,
) -> Path | None:
    """Install what the code folder's `requirements.txt` asks for, beside the image's packages.

    Args:
        code_dir: the code folder.
        boot_file: in it. Its own folder's file counts, or else the code folder's.
        work_dir: gets the environment, and is gone with it.
        say: gets a line for people.
        variables: of pip's environment, such as PIP_INDEX_URL.
        kept: wheels of earlier runs; None: there are none, and pip keeps them in its own way.

    Returns:
        The Python to run the boot file with; None: as ever, nothing is missing.

    Raises:
        TrainingError: it can't be installed; says why and what to do.
    """
    file = requirement_files.find(code_dir, boot_file)
    if file is None:
        return None
    requirements = Requirements.of(file)
    if requirements.wants_nothing:
        return None
    began = time.monotonic()
    what = f"The packages of '{file.relative_to(code_dir).as_posix()}' can't be installed"
    key = hashlib.sha256(
        json.dumps([requirements.content, image.identity()], sort_keys=True).encode()
    ).hexdigest()[:32]
    python = image.environment(work_dir / "environment")
    cache = work_dir / "pip" if kept is not None else None
    pip = Pip(python, file.parent, variables, cache)
    wheels = kept.fetch(key, work_dir / "wheels") if kept else None
    known = wheels is not None
    if wheels is None:
        say(f"Installing the packages of {file.name}")
        wheels = _download(pip, requirements, work_dir, what)
    if wheels:
        install_wheels(pip, wheels, what)
    if not known and kept is not None:
        try:
            kept.keep(key, wheels)
        except StoreError as error:
            say(f"The packages can't be kept for the next run. {error}")
    if not wheels:
        return None
    named = [" ".join(one.name.split("-")[:2]) for one in wheels]
    if len(named) > _NAMED:
        named[_NAMED:] = [f"{len(named) - _NAMED} more"]
    source = "kept from an earlier run" if known else "kept for the next run" if kept else "by pip"
    say(
        f"Installed the packages of {file.name} in {time.monotonic() - began:.1f} s ({source}): "
        f"{', '.join(named)}"
    )
    return python


def _download(pip: Pip, requirements: Requirements, work_dir: Path, what: str) -> list[Path]:
    """Get a wheel of each package that the image lacks; return them."""
    folder = work_dir / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    constraints, report = work_dir / "image.txt", work_dir / "report.json"
    lines = [f"{name}=={version}\n" for name, version in sorted(image.kept().items())]
    constraints.write_text("".join(lines))
    asked: list[str | Path] = ["--requirement", requirements.file, "--constraint", constraints]
    pip("install", "--dry-run", "--report", report, *asked, what=what)
    missing = json.loads(report.read_text())["install"]
    if not missing:
        return []
    if requirements.needs_hashes:
        for one in missing:
            # pip has compared the file; this is about what the index says that it is.
            if _sha256(one) not in requirements.hashes:
                name = one["metadata"]["name"]
                raise TrainingError(f"{what}: the index tells of another file of {name}.")
    # Alone in its folder: pip looks there first for paths in it, and then where it runs.
    pinned = work_dir / "pinned" / requirement_files.NAME
    pinned.parent.mkdir()
    with_hashes = all(map(_sha256, missing))
    pinned.write_text(
        "".join(f"{line}\n" for line in requirements.options)
        + "".join(f"{_pinned(one, with_hashes, requirements.credentials)}\n" for one in missing)
    )
    pip("wheel", "--no-deps", "--wheel-dir", folder, "--requirement", pinned, what=what)
    return sorted(folder.glob("*.whl"))


def _sha256(item: Mapping[str, Any]) -> str:
    """Return the checksum of what pip would install; empty for a folder or a repository."""
    hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
    return str(hashes.get("sha256", "")).lower()


def _pinned(item: Mapping[str, Any], with_hash: bool, credentials: Mapping[str, str]) -> str:
    """Return the requirement of exactly what pip would install, by an entry of its report."""
    name, source = item["metadata"]["name"], item["download_info"]
    inside = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
    scheme, _, place = source["url"].partition("://")
    url = f"{scheme}://{credentials[place]}@{place}" if place in credentials else source["url"]
    if commit := source.get("vcs_info"):
        return f"{name} @ {commit['vcs']}+{url}@{commit['commit_id']}{inside}"
    asked = f"{name} @ {url}{inside}"
    if not item.get("is_direct") and not source["url"].startswith("file:"):
        asked = f"{name}=={item['metadata']['version']}"
    return f"{asked} --hash=sha256:{_sha256(item)}" if with_hash else asked
