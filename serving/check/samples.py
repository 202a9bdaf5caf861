"""Samples that the code left for its model: the records by which servers warm it up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ServingError
from ..models.version import Version
from ..predict import warmup
from ..predict.call import Call, run_here
from . import cures
from .model import Model, Refused

FILE = warmup.REQUESTS_FILE


def tries(model: Model, folder: Path) -> dict[str, Callable[[], str]]:
    """Return signature -> a function that runs its samples, and says what came of it.

    Raises:
        Refused: one of the samples can't be read; by the function: one isn't answered.
    """
    version = Version("model", 1, folder)
    version.saved_model, version.signatures = model.saved_model, model.signatures
    number = 0
    keys: set[str] = set()
    try:
        for one, call in _calls(version):
            number = one
            keys.add(call.signature.key)
    except ServingError as error:
        raise Refused(
            f"The samples in '{FILE}' can't be used: that after the first {number} fails. "
            f"{cures.shortened(error)}. Write them with "
            "`training.export.export_model(…, samples=…)`."
        ) from None
    return {key: partial(_run, model, version, key) for key in sorted(keys)}


def _run(model: Model, version: Version, key: str) -> str:
    count = 0
    # Read once more: together they may be larger than the memory.
    for number, call in _calls(version):
        if call.signature.key == key:
            count += 1
            try:
                call.answer(run_here(version, call, model.deadline))
            except ServingError as error:
                raise model.refused(key, error, f"sample {number} of '{FILE}'") from None
    return f"answers its {count} sample{'s' * (count > 1)}."


def _calls(version: Version) -> Iterator[tuple[int, Call[Any]]]:
    """Yield the samples as calls, with their numbers from 1 on."""
    for number, entry in enumerate(warmup.read(version.path / FILE), 1):
        yield number, warmup.call_of(version, entry)
