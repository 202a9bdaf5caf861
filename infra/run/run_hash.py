"""The run hash: one SHA-256 over all that decides what a training run produces.

It is the Job's annotation (a change is a visible replace), it is in the model's manifest (the same
hash again trains nothing) and it says which code and data made the model that is live.
"""

import hashlib
import json
from collections.abc import Mapping

VERSION = 2
"""Raise it when the form of the hashed document changes, or when a part of dlstack that is not in
it changes what a run produces. Then every stack trains once more."""


def run_hash(
    *,
    code: Mapping[str, str],
    library: Mapping[str, str],
    data: Mapping[str, str],
    boot_file: str,
    run_parameters: Mapping[str, str],
    image: str,
    node_count: int,
) -> str:
    """Return the run hash, 64 hexadecimal digits.

    Args:
        code: path -> checksum of the code folder.
        library: path -> checksum of what the code imports of dlstack's own library
            (`library.reached`). Not of the agent nor of `store`: they start the code and move
            bytes, which S3 verifies, and decide nothing of the model. So an update of them reaches
            a run that goes on without its beginning anew, and trains nothing that is published
            already.
        data: path -> checksum of the data set (size and ETag, where it lies in S3 already).
        boot_file, run_parameters, image, node_count: as configured.
    """
    return digest(
        {
            "version": VERSION,
            "code": dict(code),
            "library": dict(library),
            "data": dict(data),
            "boot_file": boot_file,
            "run_parameters": dict(run_parameters),
            "image": image,
            "node_count": node_count,
        }
    )


def short(run_hash: str) -> str:
    """Return the first digits of a run hash, which name the run's folder (docs/contracts.md)."""
    return run_hash[:12]


def digest(document: object) -> str:
    """Return the SHA-256 of `document` as canonical JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
