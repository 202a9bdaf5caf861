"""What a try has found, as a table, and the commands that come next."""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from training.agent.bars import Bar
from training.agent.flags import run_parameters

_SIGNATURE = re.compile(r"Signature '(?P<name>.+?)' (?P<said>.*?)\.?$")


def table(
    model_dir: Path,
    metrics: Mapping[str, float],
    bars: Sequence[Bar],
    checked: Sequence[str],
    seconds: Mapping[str, float],
) -> Iterator[str]:
    """Yield the lines on a boot file that left all that it has to leave.

    Args:
        model_dir: the SavedModel.
        metrics: what it measured.
        bars: those that it has passed.
        checked: what `serving.check` said of the model.
        seconds: phase -> how long it took.
    """
    size = sum(file.stat().st_size for file in model_dir.rglob("*") if file.is_file())
    rows = [("model", f"{model_dir}, {size / 1e6:.1f} MB")]
    for line in checked:
        if match := _SIGNATURE.match(line):
            rows.append(("signature", f"{match['name']}: {match['said']}"))
    rows.append(("metrics", "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())))
    rows += [("bar", f"{bar.key}: passed") for bar in bars]
    events = [file for file in model_dir.parent.rglob("events.out.tfevents.*") if file.is_file()]
    tensorboard = f"  tensorboard --logdir={_quoted(model_dir.parent)}" if events else ""
    rows.append(("event files", f"{len(events)}{tensorboard}"))
    rows.append(("time", ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())))
    width = max(len(name) for name, _ in rows)
    yield from (f"{name:{width}}  {text}" for name, text in rows)


def next_steps(
    code_dir: Path,
    boot_file: str,
    data_dir: str,
    data_mode: str,
    arguments: Sequence[str],
    bars: Sequence[Bar],
    versions: Path,
) -> Iterator[str]:
    """Yield the commands to serve the model here, and to train and serve it on a stack.

    Args:
        code_dir: as it was given.
        boot_file: in it.
        data_dir: the data set.
        data_mode: `copy` or `stream`.
        arguments: of the boot file.
        bars: that the model has passed.
        versions: a folder in which the model has a number, as the server wants it.
    """
    python, name = _python(), _model_name(code_dir)
    yield "Ask the model here, in the repository's folder:"
    yield f"  {python} -m serving --model_name={name} --model_base_path={_quoted(versions)}"
    yield f"  {python} -m client metadata --host=127.0.0.1 --port=8500 --model={name}"
    yield f"  {python} -m client predict FILE --host=127.0.0.1 --port=8500 --model={name}"
    yield "Train and serve it on a stack:"
    keys = {"codeDir": code_dir.resolve(), "bootFile": boot_file, "dataDir": data_dir}
    if data_mode != "copy":
        keys["dataMode"] = data_mode
    for key, value in {**keys, "modelName": name}.items():
        yield f"  pulumi config set dlstack:{key} {shlex.quote(str(value))}"
    # Those of the boot file before would stay.
    yield "  pulumi config rm dlstack:runParameters"
    for parameter, value in run_parameters(arguments).items():
        path = f"dlstack:runParameters.{parameter}"
        yield f"  pulumi config set --path {shlex.quote(path)} {shlex.quote(value)}"
    for bar in bars:
        key, _, number = bar.key.rpartition(" ")
        yield f"  pulumi config set --path {shlex.quote(key)} {number}"
    yield "  pulumi up"


def _python() -> str:
    """Return how this Python is called from the folder that one is in."""
    program = Path(sys.executable)
    if shutil.which("python") == str(program):
        return "python"
    here = Path.cwd()
    return _quoted(program.relative_to(here) if program.is_relative_to(here) else program)


def _model_name(code_dir: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", code_dir.resolve().name.lower()).strip("-")
    return name or "model"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
