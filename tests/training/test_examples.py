"""The boot files in docs/training.md, run as they stand there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import ROOT, scalars
from training.quiet_tensorflow import tf

EXAMPLES = dict(
    re.findall(
        r"^```python file=(\S+)\n(.*?)^```$",
        (ROOT / "docs" / "training.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
SLOPES, HEIGHT, NOISE = [2.0, -1.0], 0.5, 0.1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """500 points near a plane."""
    random = np.random.default_rng(1)
    points = random.normal(size=(500, 2))
    heights = points @ SLOPES + HEIGHT + random.normal(scale=NOISE, size=500)
    folder = tmp_path / "data"
    folder.mkdir()
    np.savetxt(folder / "points.csv", np.column_stack([points, heights]), delimiter=",")
    return folder


def run_example(name: str, data: Path, output: Path, *arguments: str) -> str:
    output.mkdir(exist_ok=True)
    file = output.parent / name
    file.write_text(EXAMPLES[name])
    done = subprocess.run(
        [sys.executable, str(file), f"--data_url={data}", f"--train_url={output}", *arguments],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_each_way_leaves_a_model_and_metrics(name: str, data: Path, tmp_path: Path) -> None:
    run_example(name, data, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["loss"] < 2 * NOISE**2
    model = tf.saved_model.load(str(tmp_path / "out" / "model"))
    found = model.signatures["serving_default"](points=tf.constant([[1.0, 1.0]]))["height"]
    assert found.numpy() == pytest.approx([sum(SLOPES) + HEIGHT], abs=0.1)


@pytest.mark.slow
def test_fit_with_the_callback_logs_saves_and_goes_on_after_the_last_epoch(
    data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert "Going on" not in run_example("with_fit.py", data, output, "--epochs=2")
    # 400 points that are not held out, 32 in a batch: 13 steps in an epoch.
    assert "Going on from the checkpoint of step 26" in run_example(
        "with_fit.py", data, output, "--epochs=5"
    )
    logged = scalars(output)
    assert set(logged) == {"loss", "learning_rate", "global_step/sec"}
    assert sorted(step for step, _ in logged["loss"]) == [10, 20, 30, 40, 50, 60]
    assert sorted(step for step, _ in scalars(output / "evaluation")["loss"]) == [
        *(13, 26, 39, 52, 65)
    ]
