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
from store.errors import NoObject
from store.objects import create, list_folders, read, write
from store.parallel import in_parallel
from store.transfers import upload_file
from store.urls import S3Url
from training.command_line import TrainingError
from training.folders import MODEL_FOLDER

MANIFEST_FILE = "manifest.json"
CLAIM_FILE = ".claim"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a manifest says about how its model was made."""

    run_hash: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    details: Mapping[str, Any]
    seconds: Mapping[str, float]
    """Phase name -> wall-clock seconds of the phases before publishing."""


def find_published(client: Client, model_url: S3Url, run_hash: str) -> dict[str, Any] | None:
    """Return the manifest of the newest version that has this run hash, if any."""

    def read_manifest(version: int) -> dict[str, Any]:
        try:
            manifest = json.loads(read(client, model_url / f"{version}/{MANIFEST_FILE}"))
        except (NoObject, ValueError):
            # Claimed, but not published: it does not exist for readers.
            return {}
        return manifest if isinstance(manifest, dict) else {}

    manifests = in_parallel(read_manifest, sorted(_versions(client, model_url)))
    made = [manifest for manifest in manifests if manifest.get("run_hash") == run_hash]
    return made[-1] if made else None


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
    client: Client, model_dir: Path, model_url: S3Url, provenance: Provenance
) -> tuple[int, S3Url]:
    """Upload `model_dir` as the next version; return the number and its URL.

    Readers see the version only when the manifest is there, so a failure on the way leaves
    nothing but a number that is never used again.
    """
    began = time.monotonic()
    version = _claim(client, model_url, provenance.run_hash)
    url = model_url / str(version)
    files = sorted(file for file in model_dir.rglob("*") if file.is_file())
    in_parallel(
        lambda file: upload_file(client, file, url / file.relative_to(model_dir).as_posix()), files
    )
    manifest = {
        "model_name": model_url.prefix.rsplit("/", 1)[-1],
        "version": version,
        "run_hash": provenance.run_hash,
        "files": [_describe(file, model_dir) for file in files],
        "metrics": dict(provenance.metrics),
        "parameters": dict(provenance.parameters),
        "provenance": dict(provenance.details),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {**provenance.seconds, "publish": round(time.monotonic() - began, 3)},
    }
    write(client, url / MANIFEST_FILE, json.dumps(manifest, indent=2).encode())
    return version, url


def _claim(client: Client, model_url: S3Url, run_hash: str) -> int:
    """Own the next version number, however many others want one at the same time."""
    version = max(_versions(client, model_url), default=0) + 1
    claim = json.dumps({"run_hash": run_hash}).encode()
    while not create(client, model_url / f"{version}/{CLAIM_FILE}", claim):
        version += 1
    return version


def _versions(client: Client, model_url: S3Url) -> list[int]:
    names = list_folders(client, model_url)
    return [int(name) for name in names if name.isascii() and name.isdigit() and int(name) > 0]


def _describe(file: Path, model_dir: Path) -> dict[str, str | int]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    path = file.relative_to(model_dir).as_posix()
    return {"path": path, "size": file.stat().st_size, "sha256": digest}
