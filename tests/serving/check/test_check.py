"""`python3 -m serving.check`: which models it refuses, with which words, and which it lets pass."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.serving.check import broken_kinds
from tests.serving.conftest import predict_request
from tests.serving.predict.test_warmup import REQUESTS, logged, write_records
from tests.serving_fixtures import ROOT


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of `broken_kinds`."""
    folder = tmp_path_factory.mktemp("kinds")
    done = subprocess.run(
        [sys.executable, broken_kinds.__file__, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def check(folder: Path, *flags: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "serving.check", str(folder), *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("kind", "flags", "words"),
    [
        ("keras_with_tf_saved_model_save", [], "with `model.export(FOLDER)`"),
        ("keras_saved_plainly", [], "not with `tf.saved_model.save`"),
        ("table_of_version_1", [], "in a table that nothing fills"),
        ("variable_of_version_1", [], "a variable whose value is not in the SavedModel"),
        ("tag_of_training", [], "It was saved without the tag `serve`"),
        ("no_signature", [], "The model has no signature"),
        ("python_function", [], "It calls back into Python"),
        ("numpy_function", [], "It calls back into Python"),
        ("endless", ["--seconds=2"], "a loop in it that does not end"),
        ("file_of_this_machine", [], "/nowhere/words.txt; No such file or directory"),
        ("no_asset", [], "is not in its folder `assets`"),
        ("no_variables", [], "It has no folder `variables`"),
        ("half_of_the_variables", [], "Its files are not those that were saved"),
        ("half_of_the_graph", [], "Its files are not those that were saved"),
        ("unknown_operation", [], "the operation 'Sentence', which TensorFlow does not have"),
    ],
)
def test_a_model_that_never_answers_is_refused_with_the_cure(
    kinds: Path, kind: str, flags: list[str], words: str
) -> None:
    """They were published, replaced a good version, and answered every request with an error."""
    status, _, errors = check(kinds / kind, *flags)
    assert status == 1
    [line] = errors.splitlines()
    assert line.startswith("error: ")
    assert words in line


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("large_pictures", "answers a row"),
        ("picture_files", "answers a row"),
        ("two_inputs_of_one_batch", "answers a row"),
        ("examples", "answers a row"),
        ("fixed_batch", "answers a row"),
        ("ragged", "answers a row made from its spec. But: Output 'words' of signature"),
        ("checked_values", "may be right: INVALID_ARGUMENT: assertion failed: [not above 0"),
        ("file_of_the_request", "may be right: NOT_FOUND: a made-up text; No such file"),
    ],
)
def test_what_a_row_can_be_made_for_passes_and_what_refuses_one_is_said(
    kinds: Path, kind: str, words: str
) -> None:
    status, output, errors = check(kinds / kind)
    assert (status, errors) == (0, "")
    assert words in output


def test_all_kinds_are_tried() -> None:
    text = Path(__file__).read_text()
    assert [kind for kind in broken_kinds.KINDS if f'("{kind}", ' not in text] == []


def test_an_operation_that_only_the_official_image_may_have_is_no_reason(kinds: Path) -> None:
    status, output, _ = check(kinds / "unknown_operation", "--engine=tensorflow-serving")
    assert status == 3
    assert output.startswith("The model is not checked: the official image may have")


def test_libraries_that_are_not_on_this_machine_leave_a_model_unchecked(kinds: Path) -> None:
    status, output, _ = check(kinds / "unknown_operation", "--custom_op_libraries=/nowhere")
    assert status == 3
    assert "'/nowhere' is neither a library nor a folder" in output


def test_what_is_no_model_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    status, _, errors = check(tmp_path)
    assert status == 2
    assert errors.startswith(f"error: '{tmp_path}' has no saved_model.pb.")


def test_every_signature_of_a_good_model_is_run(models: Path) -> None:
    status, output, errors = check(models / "mnist")
    assert (status, errors) == (0, "")
    for key in ("serving_default", "predict_object", "image_bytes"):
        assert f"Signature '{key}' answers a row made from its spec.\n" in output
    assert "__saved_model" not in output


def with_samples(model: Path, folder: Path, *records: bytes) -> Path:
    shutil.copytree(model, folder)
    write_records(folder / REQUESTS, list(records))
    return folder


def test_samples_are_run_in_the_place_of_rows_that_are_made_up(kinds: Path, tmp_path: Path) -> None:
    good = logged(predict=predict_request("m", x=np.float32([1.0, 2.0])))
    folder = with_samples(kinds / "checked_values", tmp_path / "good", good, good)
    assert check(folder)[:2][0] == 0
    assert "Signature 'serving_default' answers its 2 samples.\n" in check(folder)[1]


def test_a_sample_of_the_code_has_to_be_answered(kinds: Path, tmp_path: Path) -> None:
    """The model may refuse what we make up; what its code calls a good request it may not."""
    bad = logged(predict=predict_request("m", x=np.float32([-1.0])))
    status, _, errors = check(with_samples(kinds / "checked_values", tmp_path / "bad", bad))
    assert status == 1
    assert "Signature 'serving_default' does not answer sample 1 of 'assets.extra/" in errors
    assert "assertion failed: [not above 0" in errors


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"none", "Failed to parse warmup record: none"),
        (logged(predict=predict_request("m", "nope")), 'signature key "nope" not found'),
    ],
)
def test_samples_that_nobody_can_run_are_refused(
    kinds: Path, tmp_path: Path, record: bytes, words: str
) -> None:
    """The version would never be AVAILABLE."""
    status, _, errors = check(with_samples(kinds / "checked_values", tmp_path / "bad", record))
    assert status == 1
    assert words in errors
