"""Whether code that several workers run trains one model, as far as its text tells."""

import re
from collections.abc import Iterable
from pathlib import Path

import pulumi

from . import local_files

_TEXT_BYTES = 2**20
"""No script is larger."""
_SHARES = re.compile(
    rb"\btraining(\.|[ \t]+import\b[^\n]*\b)(trainer|keras_workers)\b|TF_CONFIG|\btf_config\b"
    rb"|\bdistribute\.|MultiWorkerMirrored|\bhorovod\b|\b(torch|jax)\.distributed\b"
)
_FIT = re.compile(rb"\btraining(\.|[ \t]+import\b[^\n]*\b)keras_callback\b")


def check(folder: Path, code: Iterable[str], node_count: int) -> None:
    """Refuse or report code that would train a model of its own on each of several workers.

    Args:
        folder: the code folder.
        code: the paths in it that are sent.

    Raises:
        RunError: it uses `JobCallback`, which would refuse it as the job runs.
    """
    if node_count == 1:
        return
    files = [local_files.find(folder, path) for path in code if path.endswith(".py")]
    texts = [file.read_bytes() for file in files if file.stat().st_size <= _TEXT_BYTES]
    if any(_SHARES.search(text) for text in texts):
        return
    why = (
        f"dlstack:nodeCount is {node_count}, but 'fit' would train a model of its own on each "
        "worker. Use training.keras_workers, whose 'fit' shares each batch (docs/training.md), or "
        "set nodeCount to 1."
    )
    if any(_FIT.search(text) for text in texts):
        raise pulumi.RunError(why)
    pulumi.log.warn(
        f"dlstack:nodeCount is {node_count}, but nothing in dlstack:codeDir reads TF_CONFIG or "
        "uses training.trainer or training.keras_workers: each worker would train a model of its "
        "own, and only the first one's is published."
    )
