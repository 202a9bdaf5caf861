"""`dlstack:maxRegression`: by how much a model may be worse than the one that serves."""

import re
from collections.abc import Mapping

from .reader import Reader

KEY = "maxRegression"

LESS_IS_BETTER = (
    *("loss", "error", "err", "entropy", "divergence", "deviance", "perplexity", "brier", "nll"),
    *("mae", "mse", "rmse", "mape", "msle", "wer", "cer", "latency", "seconds"),
)
MORE_IS_BETTER = (
    *("accuracy", "acc", "precision", "recall", "sensitivity", "specificity", "f1", "fbeta"),
    *("auc", "auroc", "ap", "map", "ndcg", "mrr", "iou", "miou", "dice", "bleu", "rouge", "r2"),
    *("kappa", "score"),
)
"""Words in names of metrics. `training.metrics` has the same, for the best weights."""


def read(
    reader: Reader, min_metrics: Mapping[str, float], max_metrics: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return metric -> by how much it may fall, and metric -> by how much it may rise.

    Args:
        reader: of the configuration.
        min_metrics: of these metrics more is better.
        max_metrics: of these, less.
    """
    falls: dict[str, float] = {}
    rises: dict[str, float] = {}
    for name, by in reader.numbers(KEY).items():
        if by < 0:
            reader.fail(
                KEY,
                f"has '{name}' with {by:g}, which is below 0. Say by how much it may be worse, "
                f"0 for not at all: 'pulumi config set --path dlstack:{KEY}.{name} 0'",
            )
        bound = (name in max_metrics) - (name in min_metrics)
        less = bound > 0 if bound else less_is_better(name)
        if less is None:
            reader.fail(
                KEY,
                f"has '{name}', and it is not known whether more or less of it is better. Set "
                f"dlstack:minMetrics.{name} or dlstack:maxMetrics.{name} as well",
            )
        (rises if less else falls)[name] = by
    return falls, rises


def less_is_better(name: str) -> bool | None:
    """Say what the words in a metric's name tell, such as `val_loss`; None: nothing, or both.

    Short words count alone, others also at the end of a longer one, such as `logloss`.
    """
    parts = re.split(r"[^a-z0-9]+", name.lower())
    less, more = (
        any(
            part == word or (len(word) > 3 and part.endswith(word)) for part in parts for word in of
        )
        for of in (LESS_IS_BETTER, MORE_IS_BETTER)
    )
    return None if less == more else less
