"""Files of labels: what is read, and what is said of one that makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from client import FileError, read_labels


def test_labels_are_read_by_number(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\ufeff1: b: c \n\n 0 :ä\n", encoding="utf-8")
    assert read_labels(path) == {1: "b: c", 0: "ä"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"0:a\nb\n", "Line 2 .* is 'b'"),
        (b"-1:a", "Line 1"),
        (b"0:", "Line 1"),
        (b"9" * 5000 + b":many", "Line 1"),
        ("٣:three".encode(), "Line 1"),
        (b"0:a\n0:b", "Line 2 .* names class 0 again"),
        (b"\n", "is empty"),
        (b"\xff", "not UTF-8"),
        (None, "There is no labels file"),
    ],
)
def test_labels_that_make_no_sense_are_said(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "labels.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=said):
        read_labels(path)
