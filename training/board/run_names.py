"""What TensorBoard calls the runs: when one began, its model, its hash and its parameters.

Pure functions over the runs' records (docs/contracts.md). A run's name stays while it goes on;
one that has failed says so, until it goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_DIGITS = 6
"""Of the hash: enough for `logs --run`, beside the time."""
_LONGEST = 120
"""Characters of a name."""
_ENDS = ("failed", "interrupted")


@dataclass(frozen=True)
class Known:
    """What a name is made of, and the HParams."""

    run: str
    """The first digits of the hash, which are the folder's name in the store."""
    model: str
    started: datetime
    parameters: Mapping[str, str]
    state: str
    ended: datetime | None
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, run: str, document: Any) -> "Known | None":
        """Return what a record says; None if it is none that is known here.

        Metrics that are no numbers are left out, and texts are such that UTF-8 has them.
        """
        try:
            if document["format"] != 1:
                return None
            ended = document.get("ended")
            return cls(
                run,
                _text(document["model_name"]),
                datetime.fromisoformat(document["started"]).astimezone(UTC),
                {_text(name): _text(value) for name, value in document["parameters"].items()},
                str(document["state"]),
                datetime.fromisoformat(ended).astimezone(UTC) if ended else None,
                {
                    _text(name): float(one)
                    for name, one in (document.get("metrics") or {}).items()
                    if isinstance(one, int | float)
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
            return None


def _text(value: Any) -> str:
    """Return a text; half of a surrogate pair, which JSON may name alone, becomes `?`."""
    return str(value).encode(errors="replace").decode()


def names(runs: Mapping[str, Known]) -> dict[str, str]:
    """Return run -> name. A name depends on no run that began later."""
    found: dict[str, str] = {}
    values: dict[str, dict[str, set[str]]] = {}
    for one in sorted(runs.values(), key=lambda one: (one.started, one.run)):
        before = values.setdefault(one.model, {})
        found[one.run] = _name(one, before)
        for parameter, value in one.parameters.items():
            before.setdefault(parameter, set()).add(value)
    taken: set[str] = set()
    for run, name in found.items():
        if name in taken:
            found[run] = run
        taken.add(name)
    return found


def _name(one: Known, before: Mapping[str, set[str]]) -> str:
    # What is another than in earlier runs of the model comes first: the rest may have no room.
    given = sorted(
        one.parameters.items(), key=lambda pair: (before.get(pair[0], set()) <= {pair[1]}, pair)
    )
    parts = [f"{one.started:%Y-%m-%d %H:%M}Z", one.model, one.run[:_DIGITS]]
    if given:
        parts.append(", ".join(f"{name}={value}" for name, value in given))
    text = "".join(
        letter if letter.isprintable() and letter not in "/\\" else "_"
        for letter in " ".join(parts)
    )
    # Names of files have 255 bytes at most.
    while len(text) > _LONGEST or len(text.encode()) > 200:
        text = f"{text.rstrip('…')[:-1]}…"
    return f"{text} ({one.state})" if one.state in _ENDS else text
