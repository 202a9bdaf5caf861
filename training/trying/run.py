"""Run a boot file here, and check what it leaves as the agent of a training job does."""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from store.urls import is_s3
from training.agent.bars import Bar
from training.agent.boot_process import BootProcess
from training.agent.flags import accuracy_bar, highest_bar, lowest_bar
from training.agent.job_log import LOG_FILE, JobLog
from training.agent.model_check import ModelCheck
from training.agent.packages import installation
from training.agent.publishing import check_model
from training.command_line import EXIT_FAILED, ArgumentParser, TrainingError, positive_float
from training.metrics import read_metrics
from training.trying import folder_store, folders, hints, report
from training.trying.folders import Folders

_HERE = Path(__file__).resolve().parents[2]
"""What `serving` is imported from."""
_IMAGE = {"TF_CPP_MIN_LOG_LEVEL": "2"}
"""What the runtime image sets."""
_LAST_LINES = 40
_VERSIONS = "versions"


def parser() -> ArgumentParser:
    """Return the parser of what stands before `--`."""
    found = ArgumentParser(
        prog="python -m training try",
        description="Run a boot file on this machine as a training job would, and check what it "
        "leaves. What follows '--' goes to the boot file: its run parameters.",
    )
    add = found.add_argument
    add("--code_dir", "--codeDir", type=Path, required=True, help="your code folder")
    add("--boot_file", "--bootFile", default="", help="the script in it; default: train.py")
    add("--data_dir", "--dataDir", required=True, help="the data set's folder")
    modes = "'stream': the boot file gets an s3:// URL, of a store that serves the folder"
    add("--data_mode", "--dataMode", choices=("copy", "stream"), default="copy", help=modes)
    add("--output", default="", metavar="DIR", help="what it leaves stays here; default: a new one")
    bar = partial(add, action="append", dest="bars", default=[])
    pair, number = "NAME:NUMBER", "NUMBER"
    bar("--min_metric", "--minMetrics", type=lowest_bar, metavar=pair, help="not less than this")
    bar("--max_metric", "--maxMetrics", type=highest_bar, metavar=pair, help="not more than this")
    bar("--min_accuracy", "--minAccuracy", type=accuracy_bar, metavar=number, help="of accuracy")
    add("--op_libraries", "--servingOpLibraries", default="", help="operations of others")
    limit = "a model that takes longer to load and answer is refused"
    add("--check_seconds", type=positive_float, default=600.0, help=limit)
    return found


def main(arguments: Sequence[str]) -> int:
    """Try with the flags of a command line; return the exit status."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    listed = list(arguments)
    end = listed.index("--") if "--" in listed else len(listed)
    options, unknown = parser().parse_known_args(listed[:end])
    if unknown:
        raise TrainingError(
            f"{' '.join(unknown)} is no flag of this command. Parameters of the boot file follow "
            f"'--', as in: -- {unknown[0]}"
        )
    boot_arguments = listed[end + 1 :]
    boot_file = folders.check_code(options.code_dir, options.boot_file)
    data = folders.check_data(options.data_dir, options.data_mode)
    output = folders.new_output(options.output)
    with tempfile.TemporaryDirectory(prefix="dlstack-code-") as temporary:
        code = Path(temporary, "code")
        folders.copy_code(options.code_dir, code)
        try:
            place = Folders(code, data, output)
            return _try(options, place, boot_file, boot_arguments, Path(temporary))
        except KeyboardInterrupt:
            print(f"\nEnded. What the boot file left is in {output}", file=sys.stderr)
            raise


def _try(
    options: argparse.Namespace,
    place: Folders,
    boot_file: str,
    boot_arguments: Sequence[str],
    work_dir: Path,
) -> int:
    tail: deque[bytes] = deque(maxlen=_LAST_LINES)
    log = JobLog(place.output / LOG_FILE, tail.append)
    seconds: dict[str, float] = {}
    status = 0
    try:
        began = time.monotonic()
        python = installation.install(
            place.code, boot_file, work_dir, say=log.line, variables={}, kept=None
        )
        if python is not None:
            seconds["packages"] = time.monotonic() - began
        began = time.monotonic()
        with _data(place.data, options.data_mode) as (url, variables):
            status = _run_boot_file(
                place, boot_file, [url, *boot_arguments], log, variables, python
            )
        seconds["boot file"] = time.monotonic() - began
        if status != 0:
            shown = hints.hint(b"".join(tail).decode(errors="replace"))
            raise TrainingError(f"Boot file '{boot_file}' exited with status {status}. {shown}")
        log.line(f"Ran boot file '{boot_file}' in {seconds['boot file']:.1f} s")
        model_dir = check_model(place.output, boot_file, place.code)
        metrics = read_metrics(place.output, boot_file)
        bars: list[Bar] = options.bars
        for bar in bars:
            bar.check(metrics, boot_file)
        checked: list[str] = []
        began = time.monotonic()
        ModelCheck(_HERE, options.check_seconds, options.op_libraries).run(
            model_dir, checked.append
        )
        seconds["check of the model"] = time.monotonic() - began
    except TrainingError as error:
        log.error(str(error).rstrip())
        print(f"What it left is in {place.output}", file=sys.stderr)
        return status if 0 < status < 128 else EXIT_FAILED
    print()
    for line in report.table(model_dir, metrics, bars, checked, seconds):
        print(line)
    print()
    versions = _numbered(model_dir)
    for line in report.next_steps(
        options.code_dir,
        boot_file,
        place.data,
        options.data_mode,
        boot_arguments,
        bars,
        versions,
    ):
        print(line)
    return 0


def _run_boot_file(
    place: Folders,
    boot_file: str,
    arguments: Sequence[str],
    log: JobLog,
    variables: Mapping[str, str],
    python: Path | None,
) -> int:
    arguments = [f"--train_url={place.output}", *arguments]
    environment = {**_IMAGE, **variables}
    with BootProcess(place.code, boot_file, arguments, log, environment, python=python) as boot:
        return boot.wait()


@contextmanager
def _data(data: str, mode: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the flag with the data set's place, and variables by which its store is reached."""
    if mode == "copy" or is_s3(data):
        # The shell's own variables name the store of a URL.
        yield f"--data_url={data}", {}
        return
    with folder_store.serving(Path(data)) as variables:
        yield f"--data_url={folder_store.URL}", variables


def _numbered(model_dir: Path) -> Path:
    """Return a folder that has the model as its version 1: servers want a number."""
    versions = model_dir.parent / _VERSIONS
    shutil.rmtree(versions, ignore_errors=True)
    versions.mkdir()
    (versions / "1").symlink_to(model_dir, target_is_directory=True)
    return versions


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
