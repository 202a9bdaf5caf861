"""What of a folder is not sent: by default, and by `.dlstackignore`. Git itself is the judge."""

import shutil
from pathlib import Path

import pulumi
import pytest

from infra.run import checksums
from tests.infra.program.test_program import in_git


def put(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("content")


def sent(folder: Path) -> list[str]:
    code = list(checksums.code(folder, "dlstack:codeDir"))
    assert list(checksums.data(folder, "dlstack:dataDir")) == code
    return code


def test_what_tools_leave_is_left_out(tmp_path: Path) -> None:
    """Symptom: to open a folder in Finder or an editor trained it anew, and `.env` was sent."""
    put(tmp_path, "a.py", "sub/b.txt", "sub/.gitkeep", "environment/env.py", ".hidden/data")
    kept = sent(tmp_path)
    assert kept == [".hidden/data", "a.py", "environment/env.py", "sub/.gitkeep", "sub/b.txt"]
    put(tmp_path, ".git/config", "__pycache__/a.pyc", "sub/__pycache__/b.pyc", "c.pyc")
    put(tmp_path, ".venv/x", "venv/x", "py/pyvenv.cfg", "py/lib/x.py", "conda/conda-meta/history")
    put(tmp_path, "sub/.DS_Store", "Thumbs.db", "._a.py", ".idea/x", ".vscode/x", "x.egg-info/y")
    put(tmp_path, ".mypy_cache/x", ".pytest_cache/x", ".ruff_cache/x", "sub/.ipynb_checkpoints/x")
    put(tmp_path, ".env", "sub/.env.local", "a.py~", ".a.py.swp", "#a.py#", ".gitignore")
    (tmp_path / ".#a.py").symlink_to("me@here.1")
    assert sent(tmp_path) == kept


def test_a_virtual_environment_may_be_the_folder_itself(tmp_path: Path) -> None:
    put(tmp_path, "pyvenv.cfg", "a.py")
    assert sent(tmp_path) == ["a.py", "pyvenv.cfg"]


def test_the_ignore_file_has_the_last_word(tmp_path: Path) -> None:
    put(tmp_path, "a.py", "notes.md", ".env", "sub/notes.md", "sub/.env", "py/pyvenv.cfg")
    (tmp_path / ".dlstackignore").write_text("*.md\n!/.env\n!py/\n")
    assert sent(tmp_path) == [".env", "a.py", "py/pyvenv.cfg"]
    # One further below comes later, as in Git.
    (tmp_path / "sub" / ".dlstackignore").write_text("!notes.md\r\n")
    assert sent(tmp_path) == [".env", "a.py", "py/pyvenv.cfg", "sub/notes.md"]


def test_what_can_not_be_sent_can_be_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.py")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "caf\udce9").touch()
    (tmp_path / ".dlstackignore").write_text("link\ncaf*\n")
    assert sent(tmp_path) == ["a.py"]


def test_an_ignore_file_that_can_not_be_understood_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.py")
    for content, why in {
        b"*.md\n!\n": r"\.dlstackignore': line 2, '!', can never match anything",
        b"[abc\n": r"\.dlstackignore': line 1, '\[abc', can never match anything",
        b"a\\\n": r"\.dlstackignore': line 1, .* can never match anything",
        b"\xff\xfe*\0": r"\.dlstackignore' is not UTF-8. Save it as UTF-8",
    }.items():
        (tmp_path / ".dlstackignore").write_bytes(content)
        with pytest.raises(pulumi.RunError, match=why):
            sent(tmp_path)


TREE = (
    *("a.txt", "b.log", "keep.log", "with space", "trail ", "#hash", "!bang", "a[1].txt", "ä.txt"),
    *("build/a.txt", "build/keep/b.txt", "src/build/c.txt", "src/deep/er/d.log", "src/x.txt"),
    *("data/1.csv", "data/2.csv", "data/raw/3.csv", "data/raw/keep/4.csv", "A.TXT"),
)

RULES = (
    "*.log\n!keep.log\n",
    "build\n",
    "build/\n",
    "/build/\n",
    "/build/*\n!/build/keep/\n",
    "build/\n!build/keep/b.txt\n",
    "data/*\n!data/2.csv\n!data/raw/\ndata/raw/*\n!data/raw/keep/\n",
    "**/er/\n",
    "src/**/d.log\n",
    "src/**\n!src/x.txt\n",
    "*\n!*/\n!*.csv\n",
    "/*\n!/data/\n",
    "\\#hash\n\\!bang\n",
    "# a comment\n\nwith space\ntrail\\ \n",
    "a[[]1].txt\n",
    "[ab].*\n",
    "A.T?T\n",
    "ä.*\n",
    "\ufeff*.csv\n",
    "a.txt\r\nb.log\r\n",
    "*.txt   \n",
    "data/raw\n!data/raw\n",
    "deep/er\n",
    "src/deep/er\n",
    "/data/**/keep\n",
    "a.txt/\n",
    "**\n!data\n!data/**\n",
)


@pytest.mark.parametrize("rules", RULES)
def test_a_rule_means_what_it_means_in_git(tmp_path: Path, rules: str) -> None:
    put(tmp_path, *TREE)
    in_git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text(rules, newline="")
    listed = in_git(tmp_path, "ls-files", "-z", "--others", "--exclude-standard").split("\0")
    expected = sorted({*filter(None, listed)} - {".gitignore"})
    shutil.move(tmp_path / ".gitignore", tmp_path / ".dlstackignore")
    assert sent(tmp_path) == expected
