"""Flags and variables of the pods' processes are told by the configuration keys that set them."""

import pytest

from infra.cluster.keys import in_keys
from store.errors import ENVIRONMENT, IN_STACK, PROGRAM


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "--data_url='/work/dlstack-x/data' has no labels.csv. Put it there.",
            "dlstack:dataDir has no labels.csv. Put it there.",
        ),
        (
            "argument --learning_rate: invalid float value: 'fast'",
            "argument dlstack:runParameters.learning_rate: invalid float value: 'fast'",
        ),
        (
            "the following arguments are required: --epochs",
            "the following arguments are required: dlstack:runParameters.epochs. Run 'pulumi "
            "config set --path dlstack:runParameters.epochs VALUE'.",
        ),
        (
            "usage: train.py [-h] --data_url DATA_URL --train_url TRAIN_URL\n"
            "                [--epochs EPOCHS]\n"
            "train.py: error: unrecognized arguments: --classes=3 --depth=2",
            "train.py: error: unrecognized arguments: dlstack:runParameters.classes=3 "
            "dlstack:runParameters.depth=2. The boot file doesn't take what is set: run 'pulumi "
            "config rm --path dlstack:runParameters.classes' for each, or 'pulumi config rm "
            "dlstack:runParameters' for all.",
        ),
        (
            "unrecognized arguments: --data_url=/work/x --train_url=/work/y",
            "unrecognized arguments: --data_url=/work/x --train_url=/work/y. Let the boot file "
            "take --data_url and --train_url (docs/training.md).",
        ),
        ("AWS_REGION is wrong", "dlstack:s3Region is wrong"),
        ("ValueError: a -- b", "ValueError: a -- b"),
    ],
)
def test_in_the_words_of_the_stack(said: str, told: str) -> None:
    assert in_keys(said) == told


@pytest.mark.parametrize("kind", ENVIRONMENT)
def test_advice_about_a_store_is_the_one_for_whoever_runs_pulumi(kind: type) -> None:
    told = in_keys(f"Can't read 's3://a/b': refused. {ENVIRONMENT[kind]}")
    assert told == f"Can't read 's3://a/b': refused. {PROGRAM[kind]}"
    own = "the object store at 'http://object-store.dlstack-local.svc:8333' refused."
    assert in_keys(f"{own} {ENVIRONMENT[kind]}") == f"{own} {IN_STACK[kind]}"
