"""`servingReplicas`: a number, or an object with the least and the most pods."""

from typing import Any

from ..cluster.scale import Scale
from .reader import Reader

_KEY = "servingReplicas"
_ADVICE = (
    "Use a number, or the least and the most pods: 'pulumi config set --path "
    "dlstack:servingReplicas.min 2', and the same with max"
)
_PARTS = ("min", "max", "cpu")
_MOST_PERCENT = 1000


def read(reader: Reader) -> Scale:
    """Return how many pods the prediction service has."""
    if not reader.text(_KEY).startswith("{"):
        return Scale(least=reader.integer(_KEY, low=1) or 1)
    given = reader.objects(_KEY, _ADVICE)
    for name in given:
        if name not in _PARTS:
            reader.fail(_KEY, f"has '{name}', which is not one of: {', '.join(_PARTS)}. {_ADVICE}")
    least = _whole(reader, given, "min", 1)
    most = _whole(reader, given, "max", None)
    percent = _whole(reader, given, "cpu", Scale.cpu_percent)
    if least > most:
        reader.fail(_KEY, f"has a min of {least} above its max of {most}. Swap them")
    if percent > _MOST_PERCENT:
        reader.fail(
            _KEY,
            f"has a cpu of {percent}. Use percent of what each pod reserves, 1 to {_MOST_PERCENT}",
        )
    return Scale(least=least, most=most, cpu_percent=percent)


def _whole(reader: Reader, given: dict[str, Any], name: str, default: int | None) -> int:
    value = given.get(name, default)
    if value is None:
        reader.fail(_KEY, f"has no '{name}'. {_ADVICE}")
    if isinstance(value, bool) or not str(value).isdecimal() or int(value) < 1:
        reader.fail(_KEY, f"has '{name}' with {value!r}, which is not a whole number of 1 or more")
    return int(value)
