"""Learning rates that change with the step, for every optimizer of Keras. Loads no TensorFlow."""

from typing import Any

import keras

from training.run_settings import CONSTANT

_FIRST, _LAST = 0.1, 0.01
"""Of the highest rate: where a rise begins, and where a cosine ends."""


def learning_rate(peak: float, steps: int, schedule: str = CONSTANT, warmup: float = 0.0) -> Any:
    """Return a number, or a Keras schedule.

    Args:
        peak: the highest rate.
        steps: of the whole training.
        schedule: `constant`, or `cosine`: it falls like a cosine to a hundredth.
        warmup: the share of the steps in which it rises before that, linearly, from a tenth.
    """
    schedules = keras.optimizers.schedules
    rise = max(1, int(steps * warmup)) if warmup else 0
    if schedule == CONSTANT:
        return schedules.PolynomialDecay(_FIRST * peak, rise, peak) if rise else peak
    if not rise:
        return schedules.CosineDecay(peak, max(1, steps), alpha=_LAST)
    return schedules.CosineDecay(
        _FIRST * peak,
        decay_steps=max(1, steps - rise),
        alpha=_LAST,
        warmup_target=peak,
        warmup_steps=rise,
    )
