"""What is seen of a boot file before anything is made."""

import json
import os
from pathlib import Path

import pulumi
import pytest

from infra.run import boot_file, checksums, executables


def check(folder: Path, *, own_image: bool = False) -> None:
    code = checksums.code(folder, "code")
    boot_file.check(folder, code, "train.py", own_image=own_image)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            json.dumps({"cells": [], "metadata": {}, "nbformat": 4}).encode(),
            r"'train.py' is a notebook, .*'jupyter nbconvert --to script train.py'",
        ),
        (
            b"import os\nprint 'Python 2'\n",
            r"a syntax error: .*, line 2 \(\"print 'Python 2'\"\)\. Correct it: 'python3 -m p",
        ),
        (b"def f():\n\tif 1:\n        pass\n", r"a syntax error: .*, line 3"),
        (b"#!/bin/sh\nset -e\nexec python3 x.py\n", r"is not a Python script: .*'#!/bin/sh'"),
        (b"\x7fELF\0\0\0", r"is not a Python script: it has NUL bytes"),
        (b"# ok\nname = 'caf\xe9'\n", r"is not text in UTF-8, in line 2\. Save it in UTF-8"),
        (b"name = 'caf\xe9'\n", r"is not text in UTF-8, in line 1"),
    ],
)
def test_what_python_cannot_run_is_refused_with_line_and_cure(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """Symptom otherwise: `name 'null' is not defined`, after a job."""
    (tmp_path / "train.py").write_bytes(content)
    with pytest.raises(pulumi.RunError, match=message):
        check(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xef\xbb\xbfprint(1)\n",
        b"# -*- coding: latin-1 -*-\nname = 'caf\xe9'\n",
        b"path = 'C:\\data'\n",
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_what_python_runs_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.py").write_bytes(content)
    check(tmp_path)


def test_what_it_imports_beside_it_is_looked_at_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import os, parts.network\nfrom parts import data\n")
    (tmp_path / "old.py").write_text("print 'Python 2'\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").touch()
    (tmp_path / "parts" / "network.py").write_text("from . import layers\n")
    (tmp_path / "parts" / "data.py").write_text("try:\n    import old\nexcept Exception: pass\n")
    (tmp_path / "parts" / "layers.py").write_text("x = 1\n")
    check(tmp_path)
    (tmp_path / "parts" / "layers.py").write_text("x = \n")
    with pytest.raises(pulumi.RunError, match=r"'parts/layers.py', which .* imports, has a syntax"):
        check(tmp_path)


def test_another_image_may_read_what_this_python_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    (tmp_path / "train.py").write_text("of some later Python\n")
    check(tmp_path, own_image=True)
    assert len(said) == 1 and "Read by this machine's Python" in said[0]


def test_programs_are_files_that_may_be_run_and_look_like_programs(tmp_path: Path) -> None:
    for name, content in {"run.sh": "#!/bin/sh", "a.txt": "text", "no.sh": "#!/bin/sh"}.items():
        (tmp_path / name).write_text(content)
    os.chmod(tmp_path / "run.sh", 0o755)
    os.chmod(tmp_path / "a.txt", 0o777)
    assert executables.among(tmp_path, ["run.sh", "a.txt", "no.sh"]) == ["run.sh"]
