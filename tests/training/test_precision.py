"""`--mixed_precision` and `--xla`: what XLA compiles shows that both do what they say.

Not covered here: speed, which both change on a GPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import MNIST_CODE, ROOT

pytestmark = pytest.mark.slow


def compiled(mnist: Path, folder: Path, *flags: str) -> tuple[str, dict[str, float]]:
    """Train softmax; return what XLA was given to compile, as text, and the metrics."""
    done = subprocess.run(
        [sys.executable, str(MNIST_CODE / "train_mnist.py"), f"--data_url={mnist}"]
        + [f"--train_url={folder / 'out'}", "--model=softmax", *flags],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_dump_to={folder / 'xla'} --xla_dump_hlo_as_text",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    dumped = (folder / "xla").glob("*before_optimizations.txt")
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    return "\n".join(file.read_text() for file in dumped), metrics


def test_nothing_is_compiled_unless_asked_for(mnist: Path, tmp_path: Path) -> None:
    assert compiled(mnist, tmp_path, "--max_steps=10", "--xla=false")[0] == ""


@pytest.mark.parametrize(
    ("flags", "product"),
    [
        ((), "f32[50,10]{1,0} dot("),
        (("--mixed_precision=bfloat16",), "bf16[50,10]{1,0} dot("),
        (("--mixed_precision=float16",), "f16[50,10]{1,0} dot("),
    ],
)
def test_a_step_is_compiled_and_computes_in_the_precision_asked_for(
    mnist: Path, tmp_path: Path, flags: tuple[str, ...], product: str
) -> None:
    text, metrics = compiled(mnist, tmp_path, "--xla=true", *flags)
    assert f" {product}" in text
    # Forward, and the gradient: weights stay float32.
    assert "f32[784,10]" in text
    assert metrics["accuracy"] == pytest.approx(0.869, abs=0.01)


def test_a_model_of_mixed_precision_answers_as_the_contract_says(
    mnist: Path, tmp_path: Path
) -> None:
    from training.quiet_tensorflow import tf

    compiled(mnist, tmp_path, "--max_steps=10", "--mixed_precision=bfloat16")
    model = tf.saved_model.load(str(tmp_path / "out" / "model"))
    signature = model.signatures["serving_default"]
    assert signature.structured_outputs["probabilities"].dtype == tf.float32
    assert [variable.dtype for variable in signature.variables] == [tf.float32] * 2
