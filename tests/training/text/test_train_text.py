"""The text example: its data, and a run from plain strings to a published model."""

import json
from pathlib import Path

import pytest

from tests.training.conftest import ROOT, Bucket
from training.command_line import TrainingError
from training.datasets.generate_messages import PATTERNS, generate, main
from training.object_store import ObjectStore, S3Url
from training.text.text_data import read_texts

TEXT_CODE = ROOT / "training" / "text"


def put(folder: Path, train: str, test: str) -> Path:
    (folder / "train.jsonl").write_text(train)
    (folder / "test.jsonl").write_text(test)
    return folder


def row(text: str, label: str) -> str:
    return json.dumps({"text": text, "label": label}) + "\n"


TWO = row("a", "x") + row("b", "y")


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    train, test, classes = read_texts(put(tmp_path, TWO, row("ü", "y")), "u")
    assert (train.texts, train.labels) == (["a", "b"], [0, 1])
    assert (test.texts, test.labels, classes) == (["ü"], [1], ["x", "y"])


@pytest.mark.parametrize(
    ("train", "test", "error"),
    [
        (TWO, "", "test.jsonl in --data_url='u' has no lines"),
        (TWO + "{", TWO, "Line 3 of train.jsonl in --data_url='u' is not a JSON object"),
        (TWO, '{"text": "a"}', "Line 1 of test.jsonl"),
        (TWO, '{"text": 1, "label": "x"}', "Line 1 of test.jsonl"),
        (TWO, "[]", "Line 1 of test.jsonl"),
        (row("a", "x"), TWO, "has only the label 'x'"),
        (
            TWO,
            row("c", "z"),
            "test.jsonl in --data_url='u' has the label 'z', which is not in train.jsonl. Put",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    tmp_path: Path, train: str, test: str, error: str
) -> None:
    with pytest.raises(TrainingError) as raised:
        read_texts(put(tmp_path, train, test), "u")
    assert error in str(raised.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no train.jsonl and no test.jsonl. Put texts"):
        read_texts(tmp_path, "u")


def test_messages_depend_on_the_seed_alone_and_the_sets_share_no_pattern() -> None:
    train, test = generate(300, 100, seed=1)
    assert (train, test) == generate(300, 100, seed=1)
    assert train != generate(300, 100, seed=2)[0]
    assert (len(train), len(test)) == (1200, 400)
    texts = [json.loads(line)["text"] for line in train]
    for patterns in PATTERNS.values():
        for pattern in patterns[-3:]:
            longest = max(pattern.replace("{when}", "{item}").split("{item}"), key=len)
            assert not any(longest in text for text in texts), pattern


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

    ObjectStore().fetch_folder(S3Url(bucket.name, "models/toy/1"), tmp_path / "model")
    model = tf.saved_model.load(str(tmp_path / "model"))
    answer = model.signatures["serving_default"](
        text=tf.constant(["Where is my parcel? It should be here.", "It makes a strange noise"])
    )
    assert [label.decode() for label in answer["labels"].numpy()] == ["delivery", "technical"]
    assert answer["probabilities"].shape == (2, 4)
    assert answer["predictions"].numpy().tolist() == [1, 3]
