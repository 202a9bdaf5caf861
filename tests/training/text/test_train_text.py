"""The text example: from plain strings to numbers, and to a published model."""

import json
from pathlib import Path

import pytest

from store.client import from_environment
from store.transfers import fetch_folder
from store.urls import S3Url
from tests.training.conftest import ROOT, Bucket
from training.datasets.generate_messages import main

TEXT_CODE = ROOT / "training" / "text"


def test_texts_become_numbers_of_words_and_pairs_whatever_their_case() -> None:
    from training.text.text_model import MAX_WORDS, encode

    one, same, other, empty = encode(
        ["Grüße, Welt!", "GRÜSSE welt".replace("SS", "ß"), "welt grüße", " !"]
    ).numpy()
    assert (one == same).all()
    assert sorted(one[:2]) == sorted(other[:2]) and one[2] != other[2]
    assert (one[3:] == 0).all() and (empty == 0).all()
    assert (encode(["word " * 1000]).numpy()[0] != 0).sum() == 2 * MAX_WORDS - 1


@pytest.mark.slow
def test_text_goes_through_the_agent_to_a_model_that_takes_strings(
    bucket: Bucket, tmp_path: Path, environment: object
) -> None:
    assert main([f"--target_dir={tmp_path / 'data'}"]) == 0
    bucket.upload(TEXT_CODE, "code")
    bucket.upload(tmp_path / "data", "data")
    done = bucket.run(bucket.agent(boot_file="train_text.py", min_accuracy="0.85"))
    assert (done.returncode, done.stderr) == (0, "")

    from training.quiet_tensorflow import tf

    fetch_folder(from_environment(), S3Url(bucket.name, "models/toy/1"), tmp_path / "model")
    model = tf.saved_model.load(str(tmp_path / "model"))
    answer = model.signatures["serving_default"](
        text=tf.constant(["Where is my parcel? It should be here.", "It makes a strange noise"])
    )
    assert [label.decode() for label in answer["labels"].numpy()] == ["delivery", "technical"]
    assert answer["probabilities"].shape == (2, 4)
    assert answer["predictions"].numpy().tolist() == [1, 3]
    (about,) = model.signatures["about"](question=tf.constant([""]))["json"].numpy()
    classes = json.loads(about)["outputs"]["predictions"]["labels"]
    assert [classes[1], classes[3]] == ["delivery", "technical"]
