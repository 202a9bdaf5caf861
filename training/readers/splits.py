"""Which examples are held out for the validation: the same ones in every run with the same seed."""

import hashlib
from collections.abc import Sequence
from typing import Any

from training.command_line import TrainingError

# Its multiples, modulo 2**32, lie evenly, whatever the step between the numbers (Knuth).
_GOLDEN = 2654435761
_ALL = 2**32


def check_share(validation: float) -> None:
    """Raise TrainingError unless it is a share of the examples that leaves some for the rest."""
    if not 0 <= validation < 1:
        raise TrainingError(
            f"validation={validation!r} is not a share of the examples. "
            "Give a number from 0 to below 1, such as 0.2."
        )


def is_held_out(numbers: Any, validation: float, seed: int) -> Any:
    """Return which rows are held out, by their numbers.

    Args:
        numbers: int64 from 0, as an array of numpy or a tensor.
        validation: the share of them.
    """
    start = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "big")
    # Below 2**63 for sure.
    return (numbers % 2**31 * _GOLDEN + start) % _ALL < int(validation * _ALL)


def held_out_names(names: Sequence[str], validation: float, seed: int) -> set[str]:
    """Return which of some names are held out: one at least of several, if any are to be.

    A name that is added or goes changes little for the others.
    """
    if not validation or len(names) < 2:
        return set()
    count = min(max(1, round(len(names) * validation)), len(names) - 1)
    ordered = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return set(ordered[:count])
