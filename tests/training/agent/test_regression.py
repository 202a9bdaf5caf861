"""The bar that moves with what serves; that a refused run publishes nothing: test_run.py."""

from pathlib import Path

import pytest

from training.agent.flags import agent_parser
from training.agent.regression import Regression, Served, served_version
from training.command_line import TrainingError

ACCURACY = Regression("accuracy", 0.005, less_is_better=False)
LOSS = Regression("loss", 0.1, less_is_better=True)


def check(bar: Regression, found: float, before: float) -> str:
    return bar.check({bar.metric: found}, Served(3, {bar.metric: before}), "train.py")


@pytest.mark.parametrize(
    ("bar", "found", "before"),
    [
        (ACCURACY, 0.99, 0.97),
        (ACCURACY, 0.97, 0.975),  # A difference of 0.0050000000000000044.
        (LOSS, 0.4, 0.5),
        (LOSS, 0.6, 0.5),
        (Regression("accuracy", 0.0, less_is_better=False), 0.9, 0.9),
    ],
)
def test_what_is_better_or_slightly_worse_passes(
    bar: Regression, found: float, before: float
) -> None:
    assert check(bar, found, before).endswith("of version 3, which serves")


@pytest.mark.parametrize(
    ("bar", "found", "before", "said"),
    [
        (
            *(ACCURACY, 0.8692, 0.9923),
            "Accuracy 0.8692 is worse by 0.1231 than the 0.9923 of version 3, which serves: "
            "dlstack:maxRegression.accuracy 0.005 allows less, so the model is refused.",
        ),
        (LOSS, 0.7, 0.5, "Loss 0.7 is worse by 0.2 than the 0.5 of version 3, which serves: dlst"),
        (ACCURACY, float("nan"), 0.9, "Accuracy nan is worse by nan"),
    ],
)
def test_what_is_worse_is_refused_with_the_numbers_and_the_key(
    bar: Regression, found: float, before: float, said: str
) -> None:
    with pytest.raises(TrainingError) as error:
        check(bar, found, before)
    assert str(error.value).startswith(said)


def test_a_metric_that_the_new_model_lacks_is_a_mistake_of_its_code() -> None:
    with pytest.raises(
        TrainingError, match=r"has no 'accuracy', only \['loss'\]. Write it there, "
    ):
        ACCURACY.check({"loss": 0.1}, Served(3, {"accuracy": 0.9}), "train.py")


@pytest.mark.parametrize("metrics", [{}, {"accuracy": "good"}, {"accuracy": float("nan")}])
def test_a_metric_that_what_serves_lacks_is_no_bar(metrics: dict[str, object]) -> None:
    """Else a metric could never be added."""
    line = ACCURACY.check({"accuracy": 0.1}, Served(3, metrics), "train.py")
    assert line == "Version 3, which serves, has no 'accuracy' to be compared with"


def test_what_serves_is_read_from_the_folder_of_the_config_map(tmp_path: Path) -> None:
    assert served_version(tmp_path / "gone", "mnist") is None
    assert served_version(tmp_path, "mnist") is None
    (tmp_path / "model").write_text("mnist")
    (tmp_path / "version").write_text("12")
    assert served_version(tmp_path, "mnist") == 12
    assert served_version(tmp_path, "houses") is None


def test_flags_say_which_way_is_better() -> None:
    needed = [f"--{name}=s3://b/x" for name in ("code_url", "data_url", "train_url", "model_url")]
    options = agent_parser().parse_args(
        [*needed, "--boot_file=a.py", f"--run_hash={'a' * 64}", "--max_decrease=accuracy:0.005"]
        + ["--max_increase=loss:0.1", "--served=/served"]
    )
    assert options.regressions == [ACCURACY, LOSS]
    assert options.served == Path("/served")
