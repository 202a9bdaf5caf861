"""Which modules of the library count for a run: those that its code can reach."""

from pathlib import Path

import pytest

from infra.run import checksums, library, packages

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    return tmp_path / "code"


def reached(code: Path) -> set[str]:
    found = library.reached(code, checksums.code(code, "code"), packages.read("training"))
    return set(found)


WHOLE = {
    path
    for path in packages.read("training")
    if path.partition("/")[0] not in ("agent", "board", "mirror", "__main__.py")
}


def test_of_an_example_all_that_it_imports_counts_and_nothing_that_moves_bytes() -> None:
    """Symptom otherwise: each change of the agent trained every stack's model anew."""
    found = reached(ROOT / "training/mnist")
    assert {"__init__.py", "trainer.py", "steps/__init__.py", "steps/loop.py"} <= found
    assert not any(path.startswith(("agent/", "board/", "mirror/")) for path in found)
    # Keras' part is reached by other code.
    assert "keras_callback.py" not in found


def test_code_that_imports_nothing_of_the_library_is_free_of_it(code: Path) -> None:
    (code / "train.py").write_text('import torch\nprint("training")\nopen("training.csv")\n')
    (code / "notes.md").write_text("The training of this model takes two days.")
    (code / "train.py").write_text('import torch\n"""My training loop."""\nprint("training 1")\n')
    assert reached(code) == set()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import training.keras_callback", {"keras_callback.py", "checkpoints.py"}),
        ("from training import metrics", {"metrics.py", "command_line.py", "__init__.py"}),
        ("def f():\n    from training.metrics import write_metrics", {"metrics.py"}),
    ],
)
def test_an_import_counts_with_all_that_it_imports(
    code: Path, line: str, expected: set[str]
) -> None:
    (code / "train.py").write_text(line)
    found = reached(code)
    assert expected <= found
    assert found < WHOLE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.py", "from training import *"),
        ("train.py", "import importlib\nimportlib.import_module('training.trainer')"),
        ("train.py", "name = 'trainer'\n__import__(f'training.{name}')"),
        ("train.py", "print 'of Python 2'"),
        ("train.py", "import subprocess\nsubprocess.run(['python3', '-m', 'training.trainer'])"),
        ("start.sh", "python3 -m training.trainer"),
        ("notes.ipynb", '{"source": ["from training import trainer\\n"]}'),
    ],
)
def test_what_cannot_be_told_counts_as_the_whole_library(code: Path, name: str, text: str) -> None:
    (code / name).write_text(text)
    assert reached(code) == WHOLE
