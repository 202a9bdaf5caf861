"""How many steps a call of the graph does depends on the machine; what a run leaves does not."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import scalars
from training.quiet_tensorflow import tf
from training.run_settings import RunDefaults, RunSettings, run_parser
from training.steps import loop
from training.steps.distribution import Distribution
from training.steps.inputs import FunctionInputs


def trained(folder: Path, *flags: str) -> dict[str, Any]:
    """Train a variable that is nudged by the step's number; return all that is left."""
    options = run_parser("x", None).parse_args(["--data_url=-", "--train_url=-", *flags])
    settings = RunSettings.of(options, RunDefaults(learning_rate=0.1, batch_size=1), 1)
    weight = tf.Variable(0.0)

    def step(number: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        moved = weight.assign(0.9 * weight + tf.cast(number, tf.float32))
        return {"loss": moved, "number": tf.cast(number, tf.float32)}

    done = loop.train(
        step,
        lambda number: 1.0 / tf.cast(number + 1, tf.float32),
        tf.train.Checkpoint(weight=weight),
        [weight],
        folder,
        settings,
        Distribution(),
        FunctionInputs(lambda *_: []),
    )
    assert done.steps == settings.max_steps
    logged = scalars(folder)
    del logged["global_step/sec"]
    checkpoints = sorted(file.stem for file in (folder / "checkpoints").glob("*.index"))
    return {"weight": float(weight), "logged": logged, "checkpoints": checkpoints}


@pytest.mark.parametrize(
    ("flags", "saved"),
    [
        # An end that is no multiple of anything; three checkpoints are kept.
        (("--max_steps=47", "--log_every=5", "--checkpoint_every=20"), [20, 40, 47]),
        # A checkpoint is due between two logs: the next log has it.
        (("--max_steps=40", "--log_every=6", "--checkpoint_every=10"), [24, 30, 40]),
        (("--max_steps=12", "--log_every=4", "--checkpoint_every=1"), [4, 8, 12]),
        (("--max_steps=3", "--log_every=100", "--checkpoint_every=100"), [3]),
    ],
)
def test_many_rounds_in_a_call_leave_what_one_at_a_time_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], saved: list[int]
) -> None:
    found = []
    for call_seconds in (0.0, 1e6):
        monkeypatch.setattr(loop, "_CALL_SECONDS", call_seconds)
        found.append(trained(tmp_path / str(call_seconds), *flags))
    assert found[0] == found[1]
    assert found[0]["checkpoints"] == sorted(f"step-{step}" for step in saved)

    options = run_parser("x", None).parse_args(["--data_url=-", "--train_url=-", *flags])
    ends = [
        *range(options.log_every, options.max_steps, options.log_every),
        options.max_steps,
    ]
    assert [step for step, _ in found[0]["logged"]["loss"]] == ends
    # The mean over the steps of a round, and the rate of its last one.
    first = min(options.log_every, options.max_steps)
    assert found[0]["logged"]["number"][0] == (first, pytest.approx((first - 1) / 2))
    assert found[0]["logged"]["learning_rate"] == [(n, pytest.approx(1 / n)) for n in ends]
