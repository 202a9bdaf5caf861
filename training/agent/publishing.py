"""Publish a SavedModel in the object store: claim a version, files, and the manifest last."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from store.client import Client
from store.models import CLAIM_FILE, MANIFEST_FILE, versions
from store.objects import create, write
from store.parallel import in_parallel
from store.transfers import upload_file
from store.urls import S3Url
from training.command_line import TrainingError
from training.folders import MODEL_FOLDER
from training.mirror.insistence import insist

PATIENCE_SECONDS = 300.0
"""How long a store may be away while what was trained is published."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a manifest says about how its model was made."""

    run_hash: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    details: Mapping[str, Any]
    seconds: Mapping[str, float]
    """Phase name -> wall-clock seconds of the phases before publishing."""
    sources: Mapping[str, Mapping[str, str]]
    """Part of the run -> path -> first digits of its checksum, for who compares runs."""


def check_model(train_dir: Path, boot_file: str) -> Path:
    """Return the SavedModel's folder in `train_dir`; raise TrainingError when there is none."""
    folder = train_dir / MODEL_FOLDER
    if not (folder / "saved_model.pb").is_file():
        raise TrainingError(
            f"Boot file '{boot_file}' left no '{MODEL_FOLDER}/saved_model.pb' in --train_url. "
            "Let it export a SavedModel there."
        )
    return folder


def publish(
    client: Client,
    model_dir: Path,
    model_url: S3Url,
    provenance: Provenance,
    *,
    give_up_after: float = PATIENCE_SECONDS,
) -> tuple[int, S3Url]:
    """Upload `model_dir` as the next version; return the number and its URL.

    Readers see the version only when the manifest is there, so a failure on the way leaves
    nothing but a number that is never used again. A step that fails is tried again for
    `give_up_after` seconds: a training may have taken days.
    """
    began = time.monotonic()
    version = insist(
        lambda: _claim(client, model_url, provenance.run_hash), give_up_after=give_up_after
    )
    url = model_url / str(version)
    files = sorted(file for file in model_dir.rglob("*") if file.is_file())

    def upload(file: Path) -> None:
        upload_file(client, file, url / file.relative_to(model_dir).as_posix())

    in_parallel(lambda file: insist(lambda: upload(file), give_up_after=give_up_after), files)
    manifest = {
        "model_name": model_url.prefix.rsplit("/", 1)[-1],
        "version": version,
        "run_hash": provenance.run_hash,
        "files": [_describe(file, model_dir) for file in files],
        "metrics": dict(provenance.metrics),
        "parameters": dict(provenance.parameters),
        "provenance": dict(provenance.details),
        "sources": dict(provenance.sources),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {**provenance.seconds, "publish": round(time.monotonic() - began, 3)},
    }
    content = json.dumps(manifest, indent=2).encode()
    insist(lambda: write(client, url / MANIFEST_FILE, content), give_up_after=give_up_after)
    return version, url


def _claim(client: Client, model_url: S3Url, run_hash: str) -> int:
    """Own the next version number, however many others want one at the same time."""
    version = max((one.number for one in versions(client, model_url)), default=0) + 1
    claim = json.dumps({"run_hash": run_hash}).encode()
    while not create(client, model_url / f"{version}/{CLAIM_FILE}", claim):
        version += 1
    return version


def _describe(file: Path, model_dir: Path) -> dict[str, str | int]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    path = file.relative_to(model_dir).as_posix()
    return {"path": path, "size": file.stat().st_size, "sha256": digest}
