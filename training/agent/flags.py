"""The agent's command line: its own flags, and the run parameters among the boot file's."""

import argparse
import json
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from store import patience
from training.agent.bars import Bar
from training.agent.regression import Regression
from training.command_line import ArgumentParser, positive_float, positive_int


def agent_parser() -> ArgumentParser:
    """Return the parser of what stands before `--`."""
    parser = ArgumentParser(
        prog="python3 -m training",
        description="Run a boot file as a training job. What follows '--' goes to the boot file. "
        "Other commands: 'python -m training try --help' for a try on this machine, and 'python -m "
        "training about --help' for what a SavedModel says of itself.",
    )
    add = parser.add_argument
    add("--code_url", required=True, help="s3:// folder of the code")
    add("--boot_file", required=True, help="the program to run, relative to the code folder")
    add("--data_url", required=True, help="s3:// folder of the data set")
    modes = "'copy' it to this machine, or 'stream': the boot file gets its URL"
    add("--data_mode", choices=("copy", "stream"), default="copy", help=modes)
    add("--train_url", required=True, help="s3:// folder for event files, checkpoints and the log")
    add("--model_url", required=True, help="s3:// folder below which versions are published")
    add("--run_hash", required=True, type=_run_hash, help="what identifies this run")
    bar = partial(add, action="append", dest="bars", default=[])
    pair, number = "NAME:NUMBER", "NUMBER"
    bar("--min_metric", type=lowest_bar, metavar=pair, help="publish no model with less")
    bar("--max_metric", type=highest_bar, metavar=pair, help="publish no model with more")
    bar("--min_accuracy", type=accuracy_bar, metavar=number, help="--min_metric=accuracy:NUMBER")
    worse = partial(add, action="append", dest="regressions", default=[])
    falls, rises = "publish none that is so much lower", "publish none that is so much higher"
    worse("--max_decrease", type=_decrease, metavar=pair, help=f"{falls} than what serves")
    worse("--max_increase", type=_increase, metavar=pair, help=f"{rises} than what serves")
    add("--served", type=Path, metavar="FOLDER", help="folder that says what serves")
    add("--workers", type=positive_int, default=1, help="how many train one model together")
    add("--chief", default="", metavar="HOST:PORT", help="where worker 0 listens for the others")
    add("--join_seconds", type=positive_float, default=600.0, help="wait so long for the others")
    away = "wait so long at the start for a store that does not answer"
    add("--store_seconds", type=float, default=patience.SECONDS, help=away)
    whole = "the Job ends after this time: so long uploads are tried again; default: 5 minutes each"
    add("--timeout_seconds", type=positive_float, help=whole)
    programs = "JSON list of the paths of the code that may be run"
    add("--executables", type=_json_list, default=[], help=programs)
    disk = "bytes that the pod may write to its node's disk (default: as many as there are)"
    add("--disk_bytes", type=positive_int, help=disk)
    grace = "time from SIGTERM to SIGKILL"
    add("--grace_seconds", type=positive_float, default=30.0, help=grace)
    add("--provenance", type=_json_object, default={}, help="JSON object for the manifest")
    add("--sources", type=_json_object, default={}, help="JSON object for the manifest: files")
    add("--attempt", type=positive_int, default=1, help="number of this attempt at the run")
    add("--commit", help="Git commit of the code, for the manifest")
    checker = "folder with serving.zip, which tries the model; default: nobody tries it"
    add("--checker", type=Path, metavar="FOLDER", help=checker)
    numbers = "port for Prometheus: GET /metrics; default: none"
    add("--metrics_port", type=int, default=0, help=numbers)
    add("--work_dir", help="folder for temporary files; default: the system's")
    return parser


def run_parameters(arguments: Sequence[str]) -> dict[str, str]:
    """Return name -> value of `--name=value`, `--name value` and `--name` (value 'true')."""
    parameters: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--"):
            name, given, value = argument[2:].partition("=")
            parameters[name] = value if given else "true"
        elif name:
            parameters[name] = argument
    return parameters


def _run_hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 64 hexadecimal digits")
    return text


def accuracy_bar(text: str) -> Bar:
    """Parse the lowest accuracy that is published: `0.9`."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return Bar("accuracy", value, f"dlstack:minAccuracy {value:g}")


def lowest_bar(text: str) -> Bar:
    """Parse a metric and the lowest value that is published: `f1:0.8`."""
    name, value = _name_and_number(text)
    return Bar(name, value, f"dlstack:minMetrics.{name} {value:g}")


def highest_bar(text: str) -> Bar:
    """Parse a metric and the highest value that is published: `loss:0.3`."""
    name, value = _name_and_number(text)
    return Bar(name, value, f"dlstack:maxMetrics.{name} {value:g}", highest=True)


def _decrease(text: str) -> Regression:
    return Regression(*_name_and_number(text), less_is_better=False)


def _increase(text: str) -> Regression:
    return Regression(*_name_and_number(text), less_is_better=True)


def _name_and_number(text: str) -> tuple[str, float]:
    # The last colon: a metric may have one in its name.
    name, _, number = text.rpartition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 'f1:0.8'")
    return name, value


def _json_list(text: str) -> list[str]:
    value = _json(text)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON list of texts")
    return value


def _json_object(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
