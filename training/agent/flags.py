"""The agent's command line: its own flags, and the run parameters among the boot file's."""

import argparse
import json
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from store import patience
from training.agent.bars import Bar
from training.command_line import ArgumentParser, positive_float, positive_int


def agent_parser() -> ArgumentParser:
    """Return the parser of what stands before `--`."""
    parser = ArgumentParser(
        prog="python3 -m training",
        description="Run a boot file as a training job. What follows '--' goes to the boot file.",
    )
    add = parser.add_argument
    add("--code_url", required=True, help="s3:// folder of the code")
    add("--boot_file", required=True, help="the program to run, relative to the code folder")
    add("--data_url", required=True, help="s3:// folder of the data set")
    add("--train_url", required=True, help="s3:// folder for event files, checkpoints and the log")
    add("--model_url", required=True, help="s3:// folder below which versions are published")
    add("--run_hash", required=True, type=_run_hash, help="what identifies this run")
    bar = partial(add, action="append", dest="bars", default=[])
    pair, number = "NAME:NUMBER", "NUMBER"
    bar("--min_metric", type=_lowest_bar, metavar=pair, help="publish no model with less")
    bar("--max_metric", type=_highest_bar, metavar=pair, help="publish no model with more")
    bar("--min_accuracy", type=_accuracy_bar, metavar=number, help="--min_metric=accuracy:NUMBER")
    add("--workers", type=positive_int, default=1, help="how many train one model together")
    add("--chief", default="", metavar="HOST:PORT", help="where worker 0 listens for the others")
    add("--join_seconds", type=positive_float, default=600.0, help="wait so long for the others")
    away = "wait so long at the start for a store that does not answer"
    add("--store_seconds", type=float, default=patience.SECONDS, help=away)
    add("--provenance", type=_json_object, default={}, help="JSON object for the manifest")
    add("--sources", type=_json_object, default={}, help="JSON object for the manifest: files")
    add("--commit", help="Git commit of the code, for the manifest")
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


def _accuracy_bar(text: str) -> Bar:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return Bar("accuracy", value, f"dlstack:minAccuracy {value:g}")


def _lowest_bar(text: str) -> Bar:
    name, value = _name_and_number(text)
    return Bar(name, value, f"dlstack:minMetrics.{name} {value:g}")


def _highest_bar(text: str) -> Bar:
    name, value = _name_and_number(text)
    return Bar(name, value, f"dlstack:maxMetrics.{name} {value:g}", highest=True)


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


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value
