"""MNIST's networks without TensorFlow; benchmarks/keras_backends.py trains them so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.home import REPOSITORY, Home

pytestmark = pytest.mark.slow

# Not in the environment of the other tests: TensorFlow imports JAX wherever it finds it.
PACKAGES = ("jax==0.10.2", "keras==3.15.1", "numpy==2.4.6")

PROGRAM = """
import json, sys
import keras
import numpy as np
from mnist_networks import RECIPES
from training.schedules import learning_rate

recipe = RECIPES[sys.argv[1]]
network = recipe.build()
chosen = recipe.defaults
rate = learning_rate(chosen.learning_rate, 100, chosen.schedule, chosen.warmup)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
network.compile(recipe.optimizer(rate), loss)
# Each class is a bright band of its own.
images = np.kron(np.eye(10), np.ones(78)).astype("float32")
images = np.pad(images, [(0, 0), (0, 4)])
fit = network.fit(images, np.arange(10), epochs=100, verbose=0)
print(json.dumps({"losses": fit.history["loss"], "tensorflow": "tensorflow" in sys.modules}))
"""


@pytest.fixture(scope="module")
def python_with_jax() -> Path:
    """An environment of its own, made once and kept in the cache."""
    folder = Home.from_environment().cache / "-".join(("backend", *PACKAGES)).replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        (folder / "complete").touch()
    return python


@pytest.mark.parametrize("model", ["softmax", "cnn"])
def test_networks_learn_on_another_backend_without_tensorflow(
    python_with_jax: Path, model: str
) -> None:
    folders = [str(REPOSITORY), str(REPOSITORY / "training" / "mnist")]
    done = subprocess.run(
        [python_with_jax, "-c", PROGRAM, model],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["tensorflow"]
    assert found["losses"][-1] < found["losses"][0] / 2
