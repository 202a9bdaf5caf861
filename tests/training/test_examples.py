"""The boot files in docs/training.md, run as they stand there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from client import Client
from tests.serving.gateway.running import running_gateway
from tests.serving_fixtures import running_server
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


WITH_PICTURES = "with_pictures.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != WITH_PICTURES])
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


def picture_of(kind: str, random: np.random.Generator) -> Image.Image:
    """A round or a square spot, of any size and place, on grey paper."""
    paper = Image.new("RGB", (90, 70), tuple(random.integers(150, 255, 3).tolist()))
    left, top = random.integers(5, 30, 2).tolist()
    side = int(random.integers(25, 38))
    draw = ImageDraw.Draw(paper)
    shape = draw.ellipse if kind == "round" else draw.rectangle
    shape([left, top, left + side, top + side], fill=tuple(random.integers(0, 90, 3).tolist()))
    return paper


@pytest.mark.slow
def test_pictures_in_folders_make_a_model_that_page_and_client_know(tmp_path: Path) -> None:
    """Told nothing, they name the classes; a turned photo is seen as it is."""
    random = np.random.default_rng(1)
    for kind in ("round", "square"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(100):
            ending = ("jpg", "png")[number % 2]
            picture_of(kind, random).save(tmp_path / "data" / kind / f"{number}.{ending}")
    output = tmp_path / "models" / "1"
    output.parent.mkdir()
    run_example(WITH_PICTURES, tmp_path / "data", tmp_path / "out", "--epochs=20")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"] > 0.9
    shutil.copytree(tmp_path / "out" / "model", output)

    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("round", "square"):
        picture_of(kind, random).save(tmp_path / f"{kind}.jpg", exif=exif)
    files = [tmp_path / "round.jpg", tmp_path / "square.jpg"]
    with running_server(output.parent, "shapes") as server:
        with Client("127.0.0.1", "shapes", port=server.grpc_port, timeout=60) as client:
            answers = list(client.predict_files(files))
        with running_gateway(server.rest_url, tmp_path, model="shapes") as gateway:
            status, answer = gateway.post(*(file.read_bytes() for file in files))
    assert [answer.label for answer in answers] == ["round", "square"]
    assert (status, answer["labels"]) == (200, ["round", "square"])
