"""How many steps a call of the graph does depends on the machine; what a run leaves does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import scalars
from training.batches import ShuffledBatches
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


def test_a_gpu_is_not_waited_for_by_what_counts_and_what_makes_batches() -> None:
    """Symptom: on an H100, softmax made 495 steps/s of MNIST, and 1,545 with this."""
    inputs = FunctionInputs(ShuffledBatches([np.arange(10)], 4, seed=1))
    with tf.device("CPU"):
        global_step = tf.Variable(0, dtype=tf.int64)

    def step(number: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        (batch,) = inputs.draw(number)(0, 1)
        return {"loss": tf.reduce_sum(tf.cast(batch, tf.float32))}

    graph = loop._Graph(step, lambda _: tf.constant(0.1), global_step)
    library = graph._run_steps.get_concrete_function().graph.as_graph_def().library
    nodes = [node for function in library.function for node in function.node_def]

    def of(*kinds: str) -> list[Any]:
        return [node for node in nodes if node.op in kinds]

    for kind in ("RandomIndexShuffle", "GatherV2", "AssignAddVariableOp"):
        assert [node.device for node in of(kind) if "CPU" not in node.device] == []
        assert of(kind)
    # 32 bits stay with the processor wherever the operation is.
    turns = of("Less")
    assert len(turns) >= 2
    assert {node.attr["T"].type for node in turns} == {tf.int32.as_datatype_enum}
