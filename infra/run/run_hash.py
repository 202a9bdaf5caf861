"""The run hash: one SHA-256 over all that decides what a training run produces.

It is the Job's annotation (a change is a visible replace), it is in the model's manifest (the same
hash again trains nothing) and it says which code and data made the model that is live.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping

VERSION = 2
"""Raise it when the form of the hashed document changes, or when a part of dlstack that is not in
it changes what a run produces. Then every stack trains once more."""

_FRONTEND = re.compile(r"\.frontend-[0-9a-f]+$")


def run_hash(
    *,
    code: Mapping[str, str],
    library: Mapping[str, str],
    data: Mapping[str, str],
    boot_file: str,
    run_parameters: Mapping[str, str],
    image: str,
    node_count: int,
    env: Mapping[str, str] | None = None,
    secret_env: Iterable[str] = (),
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
        boot_file, run_parameters, node_count, env: as configured.
        secret_env: names of the secret variables. Another value is the same run: tokens are
            renewed.
        image: what `image_of_training` leaves of it.
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
            # Absent, the hash is what it was before there were such keys.
            **({"env": dict(env)} if env else {}),
            **({"secret_env": sorted(secret_env)} if secret_env else {}),
        }
    )


def image_of_training(name: str) -> str:
    """Return an image's name without what says which front end of the model server is in it.

    Training does not use that, so another one trains nothing anew (docs/contracts.md).
    """
    return _FRONTEND.sub("", name)


def short(run_hash: str) -> str:
    """Return the first digits of a run hash, which name the run's folder (docs/contracts.md)."""
    return run_hash[:12]


def digest(document: object) -> str:
    """Return the SHA-256 of `document` as canonical JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
