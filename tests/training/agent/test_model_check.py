"""The agent and the process that tries a model before it is published.

A package in the place of `serving` ends in each of the ways that the command can; the last test has
the real one and a real model.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.training.agent.test_run import PROLOGUE
from tests.training.conftest import ROOT, Bucket
from training.agent.model_check import SETTINGS_FILE, ModelCheck
from training.command_line import TrainingError


def checker(folder: Path, code: str, **settings: object) -> Path:
    """Return a folder as a stack mounts it, whose `serving.check` runs `code`."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "serving.zip", "w") as archive:
        archive.writestr("serving/__init__.py", "")
        archive.writestr("serving/check.py", f"import os, signal, sys, time\n{code}\n")
    (folder / SETTINGS_FILE).write_text(json.dumps(settings))
    return folder


def said(folder: Path) -> list[str]:
    lines: list[str] = []
    ModelCheck.of(folder).run(folder, lines.append)
    return lines


def test_what_it_says_is_passed_on_and_the_settings_reach_it(tmp_path: Path) -> None:
    folder = checker(
        tmp_path, "print(*sys.argv[1:], sep='\\n')", seconds=5, op_libraries="/a", engine="embedded"
    )
    assert said(folder) == [
        str(tmp_path),
        "--seconds=5",
        "--custom_op_libraries=/a",
        "--engine=embedded",
    ]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "print('chatter', file=sys.stderr)\n"
            "print('error: Signature x does not answer. Do y.', file=sys.stderr)\nsys.exit(1)",
            r"^The exported model is not published\. Signature x does not answer\. Do y\.$",
        ),
        (
            "print('error: It never answers.', file=sys.stderr)\n"
            "print('another signature prints', file=sys.stderr)\nsys.exit(1)",
            r"not published\. It never answers\.$",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed, .* Choose a larger dlstack:flavour"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashed TensorFlow \(SIGSEGV\)"),
        ("os.kill(os.getpid(), signal.SIGRTMIN)", "was ended by signal 34. It is not published"),
        (
            "print('Check failed: a == b', file=sys.stderr, flush=True)\nos.abort()",
            "SIGABRT.*not published. Check failed: a == b",
        ),
    ],
)
def test_a_model_that_is_refused_or_ends_the_process_is_not_published(
    tmp_path: Path, code: str, words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        said(checker(tmp_path, code))


def test_a_check_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.agent.model_check._MARGIN_SECONDS", 0.2)
    with pytest.raises(TrainingError, match="has not answered within 1 s"):
        said(checker(tmp_path, "time.sleep(600)", seconds=1))


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("print('The model is not checked: no engine')\nsys.exit(3)", "checked: no engine"),
        ("import a_module_of_another_image", "checked: ModuleNotFoundError: No module named"),
    ],
)
def test_where_nobody_can_tell_the_model_is_published_unchecked(
    tmp_path: Path, code: str, line: str
) -> None:
    """An image of the user's own need not have what runs a model."""
    [found] = said(checker(tmp_path, code))
    assert found.startswith("The model is not checked: ")
    assert line in found


def test_a_check_that_fails_half_way_is_told(tmp_path: Path) -> None:
    code = "print('Signature one answers', flush=True)\nraise OSError('a mistake of ours')"
    assert said(checker(tmp_path, code))[-1] == (
        "The model is not checked: OSError: a mistake of ours"
    )


def test_nothing_in_the_folder_of_the_agent_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serving.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert said(checker(tmp_path / "mounted", "print('this one')")) == ["this one"]


def test_a_refused_model_fails_the_job_and_makes_no_version(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("data/part.txt", b"data")
    bucket.put("code/boot.py", (PROLOGUE + "finish(0.9)").encode())
    code = "print('error: It never answers.', file=sys.stderr)\nsys.exit(1)"
    done = bucket.run(bucket.agent(checker=str(checker(tmp_path / "refuses", code))))
    assert done.returncode == 1
    assert done.stderr == "error: The exported model is not published. It never answers.\n"
    assert not bucket.listing("models/")

    good = checker(tmp_path / "passes", "print('Checked the model')")
    done = bucket.run(bucket.agent(checker=str(good)))
    assert done.returncode == 0
    assert "Checked the model\nPublished version 1 " in done.stdout
    manifest = json.loads(bucket.get("models/toy/1/manifest.json"))
    assert set(manifest["seconds"]) == {"fetch", "train", "check", "publish"}


@pytest.mark.slow
def test_a_keras_model_that_is_saved_in_the_wrong_way_is_refused(tmp_path: Path) -> None:
    """Symptom: it was published, replaced a good version, and each request to it failed."""
    save = (
        "import sys, tensorflow as tf\n"
        "model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(1)])\n"
        "tf.saved_model.save(model, sys.argv[1] + '/bad')\n"
        "model.export(sys.argv[1] + '/good')\n"
    )
    subprocess.run([sys.executable, "-c", save, str(tmp_path)], check=True, capture_output=True)
    lines: list[str] = []
    check = ModelCheck(ROOT)
    check.run(tmp_path / "good", lines.append)
    assert lines[-1].startswith("Checked the model in ")
    with pytest.raises(TrainingError, match=r"a variable whose value is not in .*model\.export"):
        check.run(tmp_path / "bad", lines.append)
