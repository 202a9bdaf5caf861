"""The folders of a try: as the job would have them, each in a place of its own."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from store.urls import is_s3
from training.command_line import TrainingError
from training.folders import CHECKPOINT_FOLDER, MODEL_FOLDER
from training.metrics import METRICS_FILE
from training.stored_paths import stored_folder

_NOT_SENT = shutil.ignore_patterns(
    "__pycache__", "venv", "node_modules", ".git", ".hg", ".svn", ".venv", ".env*", ".*_cache",
    ".ipynb_checkpoints", ".tox", ".idea", ".vscode", "*.pyc", "*.egg-info",
)  # fmt: skip
"""Of what a stack leaves out, the part that is large or that code must not rely on."""


@dataclass(frozen=True)
class Folders:
    """What the boot file is run with."""

    code: Path
    """A copy: in the job there is nothing beside it either."""
    data: str
    """What the boot file is given: a folder or an `s3://` URL."""
    output: Path


def check_code(folder: Path, boot_file: str) -> str:
    """Return the boot file's name: the one that is given, or the only script in the folder.

    Raises:
        TrainingError: there is no such folder, no script, or more than one; or it is a notebook.
    """
    if not folder.is_dir():
        raise TrainingError(
            f"--code_dir={str(folder)!r} is not a folder. Give the folder with your script."
        )
    if not boot_file:
        scripts = sorted(file.name for file in folder.glob("*.py"))
        boot_file = "train.py" if "train.py" in scripts or len(scripts) != 1 else scripts[0]
        if boot_file not in scripts:
            shown = f"the scripts {', '.join(scripts)}" if scripts else "no script (*.py)"
            if not scripts and (notebooks := sorted(folder.glob("*.ipynb"))):
                raise TrainingError(
                    f"--code_dir={str(folder)!r} has {shown}, only notebooks. Make a script of the "
                    f"one that trains: 'jupyter nbconvert --to script {notebooks[0].name}'."
                )
            raise TrainingError(
                f"--code_dir={str(folder)!r} has {shown}. Name the one that trains: --boot_file=…"
            )
    if boot_file.endswith(".ipynb"):
        raise TrainingError(
            f"--boot_file={boot_file!r} is a notebook, and Python runs scripts only. Make one of "
            f"it with 'jupyter nbconvert --to script {boot_file}', and let it read --data_url and "
            "write to --train_url."
        )
    if not (folder / boot_file).is_file():
        scripts = sorted(file.name for file in folder.glob("*.py"))
        raise TrainingError(
            f"--boot_file={boot_file!r} is not in --code_dir={str(folder)!r}, which has "
            f"{', '.join(scripts) or 'no script (*.py)'}. Name the script that trains."
        )
    if _is_notebook(folder / boot_file):
        notebook = Path(boot_file).with_suffix(".ipynb")
        raise TrainingError(
            f"--boot_file={boot_file!r} is a notebook under another name, and Python runs scripts "
            f"only. Rename it to '{notebook}' and make a script of it with 'jupyter nbconvert --to "
            f"script {notebook}'; let that read --data_url and write to --train_url."
        )
    return boot_file


def _is_notebook(file: Path) -> bool:
    content = file.read_bytes()
    if not content.lstrip().startswith(b"{"):
        return False
    try:
        document = json.loads(content)
    except ValueError:
        return False
    return isinstance(document, dict) and "cells" in document


def check_data(folder: str, mode: str) -> str:
    """Return the data set's folder or URL; raise TrainingError unless it has files.

    Args:
        mode: `copy`, or `stream`: the boot file reads it in a store.
    """
    if is_s3(folder):
        if mode == "copy":
            raise TrainingError(
                f"--data_dir={folder!r} is in a bucket. Fetch some of it into a folder, or try "
                "what 'dlstack:dataMode stream' does: --data_mode=stream."
            )
        stored_folder(folder)
        return folder.rstrip("/")
    if not Path(folder).is_dir():
        raise TrainingError(f"--data_dir={folder!r} is not a folder. Give the data set's folder.")
    if not any(files for _, _, files in os.walk(folder, followlinks=True)):
        raise TrainingError(f"--data_dir={folder!r} has no files. Give the data set's folder.")
    return str(Path(folder).resolve())


def new_output(folder: str) -> Path:
    """Return a folder for what the boot file leaves, `folder` or a new one.

    Raises:
        TrainingError: it has what an earlier run left, or can't be made.
    """
    if not folder:
        return Path(tempfile.mkdtemp(prefix="dlstack-try-"))
    output = Path(folder).resolve()
    for name in (MODEL_FOLDER, METRICS_FILE, CHECKPOINT_FOLDER):
        if (output / name).exists():
            raise TrainingError(
                f"--output={folder!r} has {name!r} of an earlier run, which this one would go on "
                "from or be taken for. Name another folder, or remove that one."
            )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"--output={folder!r} can't be made: {error.strerror}. Name another folder."
        ) from error
    return output


def copy_code(code_dir: Path, target: Path) -> None:
    """Copy the code, with what links in it lead to.

    Raises:
        TrainingError: something in it can't be read.
    """
    try:
        shutil.copytree(code_dir, target, ignore=_NOT_SENT)
    except (OSError, shutil.Error) as error:
        raise TrainingError(
            f"--code_dir={str(code_dir)!r} can't be copied, as the job would: {error}"
        ) from error
