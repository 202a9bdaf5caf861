"""The MNIST boot file on the real pictures: accuracy, speed, scalars and the exported model."""

import json
import subprocess
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import MNIST_CODE, Bucket, scalars
from training.mnist.mnist_data import Digits, read_mnist
from training.quiet_tensorflow import tf

pytestmark = pytest.mark.slow


@dataclass
class Trained:
    output: Path
    stdout: str
    stderr: str
    metrics: dict[str, float]


@pytest.fixture(scope="module")
def softmax(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The boot file as in the README, from a copy of its folder."""
    code = tmp_path_factory.mktemp("elsewhere")
    for file in MNIST_CODE.glob("*.py"):
        (code / file.name).write_bytes(file.read_bytes())
    output = tmp_path_factory.mktemp("output")
    done = subprocess.run(
        [sys.executable, str(code / "train_mnist.py"), f"--data_url={mnist}"]
        + [f"--train_url={output}", "--model=softmax"],
        env={"PYTHONPATH": str(MNIST_CODE.parents[1]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((output / "metrics.json").read_text())
    return Trained(output, done.stdout, done.stderr, metrics)


@pytest.fixture(scope="module")
def model(softmax: Trained) -> Any:
    return tf.saved_model.load(str(softmax.output / "model"))


@pytest.fixture(scope="module")
def digits(mnist: Path) -> Digits:
    return read_mnist(mnist, str(mnist))[1]


def encoded(picture: Image.Image, form: str) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def test_softmax_reaches_the_tutorials_accuracy(softmax: Trained) -> None:
    assert softmax.metrics["accuracy"] >= 0.86
    assert softmax.stderr == ""
    assert "step 1000/1000  loss " in softmax.stdout


def test_scalars_are_logged_at_every_interval(softmax: Trained) -> None:
    logged = scalars(softmax.output)
    assert set(logged) == {"loss", "accuracy", "learning_rate", "global_step/sec"}
    for points in logged.values():
        assert [step for step, _ in points] == list(range(10, 1001, 10))
    assert logged["learning_rate"][-1][1] == pytest.approx(0.01)
    assert logged["loss"][-1][1] < 0.7 < logged["loss"][0][1]
    evaluation = scalars(softmax.output / "evaluation")
    assert evaluation["accuracy"] == [(1000, pytest.approx(softmax.metrics["accuracy"], abs=1e-5))]


def test_a_restored_checkpoint_is_the_exported_model(
    softmax: Trained, model: Any, digits: Digits
) -> None:
    latest = tf.train.latest_checkpoint(str(softmax.output / "checkpoints"))
    restored = tf.keras.Sequential([tf.keras.Input([784]), tf.keras.layers.Dense(10)])
    step = tf.Variable(0, dtype=tf.int64)
    tf.train.Checkpoint(model=restored, global_step=step).restore(latest).expect_partial()

    assert int(step) == 1000
    images = tf.constant(digits.images[:50], tf.float32) / 255.0
    assert tf.nn.softmax(restored(images)).numpy() == pytest.approx(
        model.signatures["serving_default"](images=images)["probabilities"].numpy(), abs=1e-6
    )


def test_the_export_has_the_signatures_of_the_contract(model: Any) -> None:
    def shapes(tensors: Any) -> dict[str, tuple[str, list[int | None]]]:
        return {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in tensors.items()}

    assert set(model.signatures) == {"predict_object", "serving_default", "image_bytes", "about"}
    predictions = {"predictions": ("int64", [None])}
    both = {**predictions, "probabilities": ("float32", [None, 10])}
    for name, given, returned in (
        ("predict_object", {"images": ("float32", [None, 784])}, predictions),
        ("serving_default", {"images": ("float32", [None, 784])}, both),
        ("image_bytes", {"image_bytes": ("string", [None])}, both),
        ("about", {"question": ("string", [None])}, {"json": ("string", [None])}),
    ):
        signature = model.signatures[name]
        assert shapes(signature.structured_input_signature[1]) == given
        assert shapes(signature.structured_outputs) == returned


def test_the_model_says_that_it_reads_drawings_of_digits(model: Any) -> None:
    (text,) = model.signatures["about"](question=tf.constant([""]))["json"].numpy()
    about = json.loads(text)
    assert about["title"] == "Handwritten digits"
    assert about["inputs"]["image_bytes"]["drawing"] is True
    assert about["inputs"]["images"]["range"] == [0, 1]
    assert about["outputs"]["predictions"]["labels"] == list("0123456789")


def test_signatures_agree_with_each_other_and_with_the_metrics(
    model: Any, digits: Digits, softmax: Trained
) -> None:
    images = tf.constant(digits.images, tf.float32) / 255.0
    found = model.signatures["predict_object"](images=images)["predictions"].numpy()
    assert np.mean(found == digits.labels) == pytest.approx(softmax.metrics["accuracy"], abs=1e-4)
    both = model.signatures["serving_default"](images=images[:100])
    assert both["predictions"].numpy().tolist() == found[:100].tolist()
    assert both["probabilities"].numpy().sum(axis=1) == pytest.approx(1, abs=1e-5)

    files = [encoded(Image.fromarray(one.reshape(28, 28)), "PNG") for one in digits.images[:100]]
    decoded = model.signatures["image_bytes"](image_bytes=tf.constant(files))
    assert decoded["probabilities"].numpy() == pytest.approx(
        both["probabilities"].numpy(), abs=1e-5
    )


@pytest.mark.parametrize(
    ("mode", "form"),
    [("L", "PNG"), ("LA", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG")]
    + [("L", "JPEG"), ("RGB", "JPEG")],
)
def test_pictures_of_any_size_and_kind_are_decoded_in_the_graph(
    model: Any, digits: Digits, mode: str, form: str
) -> None:
    picture = Image.fromarray(digits.images[0].reshape(28, 28)).resize((140, 140))
    one = encoded(picture.convert(mode), form)
    found = model.signatures["image_bytes"](image_bytes=tf.constant([one]))["predictions"]
    assert found.numpy().tolist() == [digits.labels[0]] == [7]


def upload_example(bucket: Bucket, mnist: Path) -> None:
    bucket.upload(MNIST_CODE, "code")
    bucket.upload(mnist, "data")


def test_softmax_goes_through_the_agent_to_a_published_version(bucket: Bucket, mnist: Path) -> None:
    upload_example(bucket, mnist)
    done = bucket.run(
        bucket.agent("--model=softmax", boot_file="train_mnist.py", min_accuracy="0.85")
    )
    assert (done.returncode, done.stderr) == (0, "")
    manifest = json.loads(bucket.get("models/toy/1/manifest.json"))
    assert manifest["metrics"]["accuracy"] >= 0.85
    assert manifest["parameters"] == {"model": "softmax"}
    kept = bucket.listing("runs/1/")
    assert "runs/1/checkpoints/checkpoint" in kept
    # The training's scalars, the evaluation's, and the confusion matrix.
    assert sum("tfevents" in key for key in kept) == 3
    assert not any("/model/" in key for key in kept)


def test_the_boot_file_alone_reads_from_and_writes_to_a_bucket(bucket: Bucket, mnist: Path) -> None:
    bucket.upload(mnist, "data")
    done = bucket.run(
        [sys.executable, str(MNIST_CODE / "train_mnist.py"), f"--data_url={bucket.url('data')}"]
        + [f"--train_url={bucket.url('out')}", "--model=softmax", "--max_steps=20"],
        {"PYTHONPATH": str(MNIST_CODE.parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {"out/metrics.json", "out/model/saved_model.pb"} <= set(bucket.listing("out/"))


def test_cnn_reaches_99_percent_through_the_agent(bucket: Bucket, mnist: Path) -> None:
    upload_example(bucket, mnist)
    done = bucket.run(bucket.agent(boot_file="train_mnist.py", min_accuracy="0.99"))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(bucket.get("models/toy/1/manifest.json"))["metrics"]["accuracy"] >= 0.99


def test_a_learning_rate_that_blows_up_is_reported_in_one_line(mnist: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "training/mnist/train_mnist.py", f"--data_url={mnist}"]
        + [f"--train_url={tmp_path}", "--model=softmax", "--learning_rate=1e38"],
        cwd=MNIST_CODE.parents[1],
        env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: The loss is ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()
