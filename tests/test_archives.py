"""The packages in the archives that pods import them from, by fresh interpreters.

Not covered here: that a pod has them, which tests/cluster shows with every run.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.run import packages

NAMES = ("store", "serving", "training")

IMPORT_ALL = """
import importlib, sys, zipfile
for archive in sys.argv[1:]:
    for path in zipfile.ZipFile(archive).namelist():
        if not path.endswith(".py"):
            continue
        name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        module = importlib.import_module(name)
        assert module.__file__ == f"{archive}/{path}", module.__file__
        print(name)
"""

BOOT_FILE = """
import inspect
from training import command_line

print(command_line.__file__)
print(inspect.getsource(command_line.positive_int).splitlines()[0])
command_line.run(lambda _: command_line.positive_int("0"))
"""

#: Starts the boot file as the agent does, where only the agent's own module path has `training`.
AGENT = """
import os, pathlib, sys
from training.agent.boot_process import BootProcess, JobLog

del os.environ["PYTHONPATH"]
log = JobLog(pathlib.Path("log.txt"))
sys.exit(BootProcess(pathlib.Path.cwd(), "boot.py", [], log, {}).wait())
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> archive of the packages of this checkout."""
    folder = tmp_path_factory.mktemp("archives")
    files = {name: folder / f"{name}.zip" for name in NAMES}
    for name, file in files.items():
        file.write_bytes(packages.archive(name, packages.read(name)))
    return files


@pytest.fixture
def run(archives: dict[str, Path], tmp_path: Path) -> "Run":
    return Run(archives, tmp_path)


class Run:
    """Runs Python with nothing of this checkout but some of the archives."""

    def __init__(self, archives: dict[str, Path], folder: Path) -> None:
        self._archives = archives
        self._folder = folder

    def __call__(self, names: Sequence[str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        search_path = os.pathsep.join(str(self._archives[name]) for name in names)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": search_path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=100,
        )


def test_every_module_can_be_imported(run: Run, archives: dict[str, Path]) -> None:
    done = run(NAMES, "-c", IMPORT_ALL, *map(str, archives.values()))
    assert done.returncode == 0, done.stderr
    assert {*NAMES} < {*done.stdout.split()}


@pytest.mark.parametrize(
    ("names", "command", "status"),
    [
        # As `tensorflow_model_server` ends.
        (("serving", "store"), "serving", 255),
        (("serving", "store"), "serving.sync", 0),
        (("serving", "store"), "serving.gateway", 0),
        (("training", "store"), "training", 0),
        (("training", "store"), "training mirror", 0),
    ],
)
def test_every_command_explains_itself(
    run: Run, names: tuple[str, ...], command: str, status: int
) -> None:
    done = run(names, "-m", *command.split(), "--help")
    assert done.returncode == status, done.stderr
    assert "usage" in done.stdout.lower()
    assert done.stderr == ""


def test_the_page_is_in_its_package(run: Run) -> None:
    print_paths = "from serving.gateway import page; print(*(r.path for r in page.routes()))"
    done = run(["serving"], "-c", print_paths)
    assert (done.stdout, done.stderr) == ("/ /web/{name}\n", "")


def test_a_boot_file_imports_the_library_and_tracebacks_show_its_lines(
    run: Run, archives: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "boot.py").write_text(BOOT_FILE)
    done = run(["training", "store"], "-c", AGENT)
    module = f"{archives['training']}/training/command_line.py"
    first, second = done.stdout.splitlines()[:2]
    assert done.returncode == 1
    assert (first, second) == (module, "def positive_int(text: str) -> int:")
    assert f'File "{module}", line ' in done.stdout
    assert "    raise argparse.ArgumentTypeError(" in done.stdout
