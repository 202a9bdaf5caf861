"""`python -m training about`: SavedModels that were made elsewhere say what they are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from training.add_about import add_about
from training.command_line import TrainingError
from training.export import export_model
from training.quiet_tensorflow import tf

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"title": 'Häuser, "it\'s"', "inputs": {"x": {"description": "Größe", "unit": "m²"}}}


def of_keras(folder: Path) -> None:
    model = keras.Sequential([keras.Input([3], name="x"), keras.layers.Dense(2)])
    model.export(str(folder), verbose=False)


def of_tensorflow_1(folder: Path) -> None:
    builder = tf.compat.v1.saved_model.Builder(str(folder))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="about/question")
        y = tf.compat.v1.get_variable("w", [3, 2]) * tf.reduce_sum(x)
        session.run(tf.compat.v1.global_variables_initializer())
        signature = tf.compat.v1.saved_model.signature_def_utils.predict_signature_def
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature({"x": x}, {"y": y})}
        )
    builder.save()


def of_export_model(folder: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")], autograph=False)
    def serving_default(x: Any) -> Any:
        return {"y": x * 2}

    export_model(folder, tf.Module(), {"serving_default": serving_default}, about={"title": "old"})
    (folder / "model").rename(folder / "other")
    for each in (folder / "other").iterdir():
        each.rename(folder / each.name)


@pytest.mark.parametrize("make", [of_keras, of_tensorflow_1, of_export_model])
def test_a_model_answers_as_before_and_what_it_is(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "m")

    def ask(signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "m"))
            given = meta.signature_def[signature]
            feed = {given.inputs[name].name: value for name, value in inputs.items()}
            names = {name: info.name for name, info in given.outputs.items()}
            found: dict[str, np.ndarray] = session.run(names, feed)
            return found

    x = np.ones([2, 3], np.float32)
    before = ask("serving_default", x=x)
    assert add_about(tmp_path / "m", ABOUT) == (make is of_export_model)
    np.testing.assert_equal(ask("serving_default", x=x), before)
    for rows in (0, 2):
        answer = ask("about", question=np.array(["?"] * rows, object))["json"]
        assert [json.loads(text) for text in answer] == [ABOUT] * rows
    assert add_about(tmp_path / "m", {"title": "new"}), "as often as one likes"
    [text] = ask("about", question=np.array([""], object))["json"]
    assert json.loads(text) == {"title": "new"}
    assert tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"] is not None
    assert not [each for each in (tmp_path / "m").iterdir() if each.name.startswith(".")]


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    of_keras(tmp_path / "m")
    path = tmp_path / "m" / "saved_model.pb"
    before = path.read_bytes()
    for about, text in (
        ({"inputs": {"rooms": {}}}, r"tells of 'rooms', which is no input.*Use one of: x\."),
        ({"titel": "x"}, "has the key 'titel'"),
    ):
        with pytest.raises(TrainingError, match=text):
            add_about(tmp_path / "m", about)
    (tmp_path / "m" / "manifest.json").write_text("{}")
    with pytest.raises(TrainingError, match="is a published version"):
        add_about(tmp_path / "m", ABOUT)
    assert path.read_bytes() == before
    (tmp_path / "m" / "manifest.json").unlink()
    path.write_bytes(before[:1000])
    with pytest.raises(TrainingError, match="is damaged"):
        add_about(tmp_path / "m", ABOUT)
    with pytest.raises(TrainingError, match="Give the folder of a SavedModel"):
        add_about(tmp_path, ABOUT)


def test_the_command_says_what_it_did_and_what_is_wrong(tmp_path: Path) -> None:
    of_keras(tmp_path / "m")
    (tmp_path / "about.json").write_text(json.dumps(ABOUT))

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "training", "about", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = run(tmp_path / "m", tmp_path / "about.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "says what it is: signature 'about' answers" in done.stdout
    (tmp_path / "about.json").write_text("{")
    done = run(tmp_path / "m", tmp_path / "about.json")
    assert done.returncode == 1
    assert "is not JSON in UTF-8" in done.stderr
    assert "Traceback" not in done.stderr
