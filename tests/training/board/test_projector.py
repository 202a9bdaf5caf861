"""Which files a projector's configuration names, and what it says in the copy."""

import pytest

from training.board.projector import Config

LISTED = [
    "run/projector_config.pbtxt",
    "run/metadata.tsv",
    "run/words/tensors.tsv",
    "run/checkpoints/step-5.index",
    "run/checkpoints/step-5.data-00000-of-00001",
    "run/checkpoints/step-50.index",
]


def config(line: str) -> Config:
    return Config("run/projector_config.pbtxt", f"embeddings {{ {line} }}")


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("metadata.tsv", "run/metadata.tsv"),
        ("words/tensors.tsv", "run/words/tensors.tsv"),
        # Of the machine that trained.
        ("/work/dlstack-1/train/metadata.tsv", "run/metadata.tsv"),
        ("/work/dlstack-1/train/words/tensors.tsv", "run/words/tensors.tsv"),
    ],
)
def test_a_file_is_found_wherever_it_was_written(path: str, file: str) -> None:
    one = config(f'metadata_path: "{path}"')
    assert one.files(LISTED) == {file}
    copied = one.localized(LISTED, lambda path: f"/logs/{path}")
    assert copied == f'embeddings {{ metadata_path: "/logs/{file}" }}'


def test_of_a_checkpoint_all_parts_are_copied() -> None:
    one = config('model_checkpoint_path: "/work/train/checkpoints/step-5"')
    assert one.files(LISTED) == set(LISTED[3:5])
    assert '"/logs/run/checkpoints/step-5"' in one.localized(LISTED, lambda path: f"/logs/{path}")


@pytest.mark.parametrize("path", ["gone.tsv", "../other/metadata.tsv", "/etc/passwd", ""])
def test_what_is_not_there_is_left_as_it_is(path: str) -> None:
    one = config(f'tensor_path: "{path}"')
    assert one.files(LISTED) == set()
    assert one.localized(LISTED, str) == one.text
