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
from store.models import MANIFEST_FILE, SAVED_MODEL, claim
from store.objects import write
from store.parallel import in_parallel
from store.patience import Patience
from store.transfers import upload_file
from store.urls import S3Url, unfit_for_a_key
from training.command_line import TrainingError
from training.folders import MODEL_FOLDER


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


def check_model(train_dir: Path, boot_file: str, code_dir: Path) -> Path:
    """Return the SavedModel's folder in `train_dir`; raise TrainingError when there is none."""
    folder = train_dir / MODEL_FOLDER
    if not (folder / SAVED_MODEL).is_file():
        raise TrainingError(
            f"Boot file '{boot_file}' left no '{MODEL_FOLDER}/{SAVED_MODEL}' in --train_url. "
            + _what_instead(train_dir, code_dir)
        )
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(train_dir).as_posix()
        if problem := unfit_for_a_key(path):
            raise TrainingError(
                f"The store can't have the file {path!r} of the model: {problem}. Let boot file "
                f"'{boot_file}' give it another name."
            )
    return folder


def _what_instead(train_dir: Path, code_dir: Path) -> str:
    """Return what a boot file wrote instead of `model/`, if anything, and what it should do."""
    folders = {train_dir: "--train_url", code_dir: "the code folder, where relative paths begin"}
    for folder, name in folders.items():
        for file in sorted(folder.rglob(SAVED_MODEL)):
            return (
                f"There is a SavedModel in '{file.parent.relative_to(folder)}' of {name}: let it "
                f"write that to the folder '{MODEL_FOLDER}' of --train_url."
            )
    for folder, name in folders.items():
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".keras", ".h5"):
                return (
                    f"There is '{file.relative_to(folder)}' in {name}: only Keras reads that, no "
                    f"server does. Let it call model.export('<train_url>/{MODEL_FOLDER}') as well."
                )
    return f"Let it export a SavedModel: with Keras, model.export('<train_url>/{MODEL_FOLDER}')."


def publish(
    client: Client,
    model_dir: Path,
    model_url: S3Url,
    provenance: Provenance,
    patience: Patience,
) -> tuple[int, S3Url]:
    """Upload `model_dir` as the next version; return the number and its URL.

    Readers see the version only when the manifest is there, so a failure on the way leaves
    nothing but a number that is never used again. A step that fails is tried again as long as
    `patience` lasts: a training may have taken days.
    """
    began = time.monotonic()
    version = patience.ask(lambda: claim(client, model_url, provenance.run_hash))
    url = model_url / str(version)
    files = sorted(file for file in model_dir.rglob("*") if file.is_file())

    def upload(file: Path) -> None:
        upload_file(client, file, url / file.relative_to(model_dir).as_posix())

    in_parallel(lambda file: patience.ask(lambda: upload(file)), files)
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
    patience.ask(lambda: write(client, url / MANIFEST_FILE, content))
    return version, url


def _describe(file: Path, model_dir: Path) -> dict[str, str | int]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    path = file.relative_to(model_dir).as_posix()
    return {"path": path, "size": file.stat().st_size, "sha256": digest}
