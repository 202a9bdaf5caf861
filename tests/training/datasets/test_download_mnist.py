"""MNIST's files are verified, wherever they come from."""

import shutil
from pathlib import Path

import pytest

from training.datasets.download_mnist import FILES, TEST_LABELS, download

LABELS = TEST_LABELS.name


def test_a_download_leaves_right_files_alone_and_replaces_a_wrong_one(
    mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in FILES:
        shutil.copy(mnist / file.name, tmp_path)
    assert download(tmp_path) is False

    # A local mirror: what is under test is the verification, not the network.
    monkeypatch.setattr(
        "training.datasets.download_mnist.MIRRORS", (f"{tmp_path.as_uri()}/", f"{mnist.as_uri()}/")
    )
    (tmp_path / LABELS).write_bytes((tmp_path / LABELS).read_bytes()[:-9])
    said: list[str] = []
    assert download(tmp_path, said.append) is True
    assert any("is not the official file" in line for line in said)
    assert (tmp_path / LABELS).read_bytes() == (mnist / LABELS).read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in FILES)
