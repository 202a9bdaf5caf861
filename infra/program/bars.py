"""Whether a model that is published already passes the bars of the configuration."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..settings.settings import Settings

_ROUNDING = 1e-9


def failures(metrics: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Yield which bars a model misses, with its metric: `accuracy 0.85 (minAccuracy 0.9)`."""
    lowest = [("minAccuracy", "accuracy", settings.min_accuracy)]
    lowest += [(f"minMetrics.{name}", name, bar) for name, bar in settings.min_metrics.items()]
    highest = [(f"maxMetrics.{name}", name, bar) for name, bar in settings.max_metrics.items()]
    for bars, passes in ((lowest, float.__ge__), (highest, float.__le__)):
        for key, name, bar in bars:
            if bar is None:
                continue
            value = _number(metrics.get(name))
            if value is None:
                yield f"no '{name}' among its metrics (dlstack:{key} {bar:g})"
            elif not passes(value, float(bar)):
                yield f"{name} {value:g} (dlstack:{key} {bar:g})"


def regressions(
    metrics: Mapping[str, Any], before: Mapping[str, Any], settings: Settings
) -> Iterator[str]:
    """Yield where a model is worse than the one that serves, by more than is allowed.

    Args:
        metrics: of the model.
        before: of the one that serves; what it has not measured is no bar.
        settings: of the stack.
    """
    falls = [(name, by, 1) for name, by in settings.max_decrease.items()]
    rises = [(name, by, -1) for name, by in settings.max_increase.items()]
    for name, by, sign in falls + rises:
        was, value = _number(before.get(name)), _number(metrics.get(name))
        if was is None:
            continue
        key = f"dlstack:maxRegression.{name} {by:g}"
        if value is None:
            yield f"no '{name}' among its metrics ({key})"
        elif sign * (was - value) > by + _ROUNDING * max(1.0, abs(was)):
            yield f"{name} {value:g}, beside {was:g} of what serves ({key})"


def _number(value: Any) -> float | None:
    """Return a metric; None for what is no finite number: a manifest may come from anywhere."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
