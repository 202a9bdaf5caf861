"""Bars for models that are published already, or come from elsewhere, by what manifests say."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.program import bars
from infra.settings.settings import Settings

ASKED = cast(
    Settings,
    SimpleNamespace(
        min_accuracy=0.9,
        min_metrics={"f1": 0.8},
        max_metrics={"loss": 0.3},
        max_decrease={"accuracy": 0.01},
        max_increase={"loss": 0.1},
    ),
)
GOOD = {"accuracy": 0.9, "f1": 0.8, "loss": 0.3}
NO_NUMBERS = [float("nan"), float("inf"), 10**400, True, "0.95", None, [0.95]]


def test_a_model_at_its_bars_passes() -> None:
    assert not list(bars.failures(GOOD, ASKED))


def test_each_bar_that_is_missed_is_named() -> None:
    assert list(bars.failures({"accuracy": 0.85, "loss": 0.31}, ASKED)) == [
        "accuracy 0.85 (dlstack:minAccuracy 0.9)",
        "no 'f1' among its metrics (dlstack:minMetrics.f1 0.8)",
        "loss 0.31 (dlstack:maxMetrics.loss 0.3)",
    ]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_what_is_no_number_passes_no_bar(name: str, value: Any) -> None:
    """NaN passed every bar, and a text ended the preview with a traceback."""
    (missed,) = bars.failures(GOOD | {name: value}, ASKED)
    assert name in missed
    (worse,) = bars.regressions(GOOD | {name: value}, GOOD, ASKED)
    assert name in worse


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_serves_is_no_measure_where_it_has_no_number(value: Any) -> None:
    assert not list(bars.regressions(GOOD, GOOD | {"accuracy": value}, ASKED))


def test_a_model_may_be_worse_by_what_is_allowed_and_no_more() -> None:
    assert not list(bars.regressions({"accuracy": 0.89, "loss": 0.4}, GOOD, ASKED))
    assert list(bars.regressions({"accuracy": 0.88, "loss": 0.5}, GOOD, ASKED)) == [
        "accuracy 0.88, beside 0.9 of what serves (dlstack:maxRegression.accuracy 0.01)",
        "loss 0.5, beside 0.3 of what serves (dlstack:maxRegression.loss 0.1)",
    ]
