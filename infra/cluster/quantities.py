"""Kubernetes quantities: '500m' is 0.5, '1Ki' is 1024."""

import re

_UNITS = {"m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", start=1)}

_NO_UNITS = {"", "m"}
"""Not of bytes: `20` is meant as gigabytes, by whoever forgets the unit, and never as bytes."""


def quantity(text: str) -> float:
    """Return the number that a quantity means; raise ValueError if it is not one."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", text)
    if not match or match[2] not in _UNITS:
        raise ValueError(f"'{text}' is not a Kubernetes quantity")
    return float(match[1]) * _UNITS[match[2]]


def is_size(text: str, least: int) -> bool:
    """Say whether `text` is a number with a unit of bytes, and `least` bytes or more."""
    try:
        has_unit = text.lstrip("0123456789.") not in _NO_UNITS
        return has_unit and quantity(text) >= least
    except ValueError:
        return False
