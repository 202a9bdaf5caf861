"""Which way a metric gets better, told by its name: for dlstack:maxRegression and --best_metric."""

import pytest

from infra.settings import regressions
from training import metrics


def test_both_know_the_same_words() -> None:
    assert regressions.LESS_IS_BETTER == metrics.LESS_IS_BETTER
    assert regressions.MORE_IS_BETTER == metrics.MORE_IS_BETTER


@pytest.mark.parametrize(
    ("name", "less"),
    [
        *((name, True) for name in ("loss", "val_loss", "logloss", "MeanSquaredError", "nll")),
        *((name, False) for name in ("accuracy", "top-5 accuracy", "f1", "val_auc", "mIoU")),
        # Ends with `cer`, `ap` and `r2`, and is none of these.
        *((name, None) for name in ("cancer", "gap", "layer2", "profit", "accuracy_loss")),
    ],
)
def test_both_take_a_name_for_the_same(name: str, less: bool | None) -> None:
    assert regressions.less_is_better(name) is less
    assert metrics.less_is_better(name) is less
