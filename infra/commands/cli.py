"""The commands of `python -m infra`: a deployed stack's status, its runs, their logs, their end,
and versions of its models.

Answers go to standard output and everything else to standard error. The exit status is 0 when all
went well, 1 when not (with `logs -f`: the Job failed or was cancelled), 2 when the arguments make
no sense.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pulumi

from store.errors import StoreError

from ..run import packages
from ..run.run_hash import short
from . import (
    cancel,
    choosing,
    comparison,
    deployed,
    job_state,
    runs,
    runs_text,
    status,
    status_text,
    tables,
    tensorboard,
    version_commands,
)
from .deployed import Deployed, Selected
from .job_log import RunLog

PROGRAM = "python -m infra"

_EPILOG = """\
The stack is that of the Pulumi project in the current folder: --stack, else PULUMI_STACK, else the
one that `pulumi stack select` chose. The cluster is KUBECONFIG's.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        result: int = arguments.function(arguments)
        # Here and not at the end of the process, where a broken pipe could not be caught.
        sys.stdout.flush()
        return result
    except (pulumi.RunError, StoreError) as exc:
        _say(f"error: {exc}")
        return 1
    except BrokenPipeError:
        # Whoever read the log (`| head`) has gone; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--stack", help="name of the stack (default: see below)")
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="How a deployed stack is, and what its training runs say.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = (packages.REPOSITORY / "VERSION").read_text().strip()
    parser.add_argument("--version", action="version", version=f"dlstack {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, function: Any, text: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        result = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            parents=[common, *parents],
        )
        result.set_defaults(function=function)
        return result

    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="one JSON object (default: a table)")
    command("status", _status, "job, models, what is served, and the addresses", as_json)
    told = command(
        "runs",
        _runs,
        "the training runs; of one HASH all that is known, of two the difference",
        as_json,
    )
    told.add_argument(
        "runs", nargs="*", metavar="HASH", help="first digits of a run's hash (default: all runs)"
    )
    told.add_argument(
        "--sort",
        default="-started",
        metavar="NAME",
        help="a metric, a parameter, 'started' or 'duration'; with '-' before it the highest first "
        "(default: -started)",
    )
    told.add_argument("--model", metavar="NAME", help="only the runs of this model")
    board = command("tensorboard", _tensorboard, "open TensorBoard on a port of this machine")
    board.add_argument(
        "--port",
        type=_port,
        default=tensorboard.PORT,
        metavar="N",
        help=f"of this machine; 0 for any that is free (default: {tensorboard.PORT})",
    )
    command("cancel", _cancel, "end the training that runs; 'pulumi up' goes on from there")
    logs = command("logs", _logs, "the log of a training run")
    logs.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="go on until the job ends; the exit status is 0 if it succeeded (default: no)",
    )
    logs.add_argument(
        "--run", metavar="HASH", help="first digits of the run's hash (default: the newest run)"
    )
    logs.add_argument(
        "--worker",
        type=_whole_number,
        default=0,
        metavar="N",
        help="of several workers, the one with this number (default: 0, which publishes)",
    )
    version_commands.declare(command, as_json, _selected, _say)
    return parser


def _joined(words: Sequence[str]) -> list[str]:
    """Return the words of a command line as argparse takes them: `-loss` it has for a flag."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--sort":
            found[-1] = f"--sort={word}"
        else:
            found.append(word)
    return found


def _status(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    found = status.read(_find(arguments), now)
    if arguments.json:
        print(json.dumps(status.as_json(found), indent=2))
    else:
        print(status_text.status_text(found, tables.terminal_width(), now))
    if found.problem:
        _say(f"error: {found.problem}")
    return 1 if found.problem else 0


def _runs(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    found = _all_runs(_find(arguments), now)
    if arguments.model:
        found = choosing.of_model(found, arguments.model)
    if arguments.runs:
        return _some_runs(arguments, found, now)
    found = choosing.in_order(found, arguments.sort)
    if arguments.json:
        print(json.dumps({"runs": [runs.as_json(run) for run in found]}, indent=2))
    elif found:
        print(runs_text.runs_text(found, tables.terminal_width(), now, arguments.sort))
    else:
        print("no run has begun yet")
    return 0


def _all_runs(stack: Deployed, now: datetime) -> list[runs.Run]:
    """Ask bucket and cluster, all at once."""
    client = stack.connect()
    with ThreadPoolExecutor() as pool:
        known = pool.submit(runs.known, client, stack.output_bucket)
        published = pool.submit(runs.all_versions, client, stack.output_bucket)
        pods, events = (pool.submit(stack.items, f"api/v1/{one}") for one in ("pods", "events"))
        jobs = [
            job_state.state_of(job, pods.result(), now, events.result())
            for job in stack.items("apis/batch/v1/jobs")
            if job_state.run_hash(job)
        ]
        return runs.runs(known.result(), jobs, published.result(), now)


def _some_runs(arguments: argparse.Namespace, found: Sequence[runs.Run], now: datetime) -> int:
    if len(arguments.runs) > 2:
        raise pulumi.RunError(
            f"Two runs can be compared, not {len(arguments.runs)}. 'python -m infra runs' shows "
            "all of them, with what differs."
        )
    by_hash = {run.run: run for run in found}
    chosen = [by_hash[choosing.the_run(one, list(by_hash), "")] for one in arguments.runs]
    width = tables.terminal_width()
    if arguments.json:
        told: dict[str, Any] = {"runs": [runs.as_json(run) for run in chosen]}
        if len(chosen) == 2:
            told["differences"] = comparison.as_json(comparison.differences(*chosen))
        print(json.dumps(told, indent=2))
    elif len(chosen) == 2:
        print(runs_text.two_runs_text(chosen[0], chosen[1], width))
    else:
        print(runs_text.run_text(chosen[0], width, now))
    return 0


def _tensorboard(arguments: argparse.Namespace) -> int:
    tensorboard.show(_find(arguments), arguments.port, _say)
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    if not cancel.cancel(_find(arguments), _say):
        _say("No training runs.")
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    stack = _find(arguments)
    client = stack.connect()
    jobs = stack.items("apis/batch/v1/jobs")
    job = job_state.newest(jobs)
    if arguments.run or job is None:
        past = [one.run for one in runs.known(client, stack.output_bucket)]
        known = [job_state.run_hash(one) for one in jobs if job_state.run_hash(one)] + past
        if not known:
            raise pulumi.RunError(
                f"The stack '{stack.name}' has had no training run yet. 'pulumi up' starts one."
            )
        run = choosing.the_run(arguments.run, known) if arguments.run else known[0]
        job = job_state.newest(jobs, run)
    else:
        run = job_state.run_hash(job)
    if job is not None and arguments.worker >= job_state.nodes(job):
        raise pulumi.RunError(
            f"--worker {arguments.worker}: the run {short(run)} has no such worker. Its last one "
            f"is number {job_state.nodes(job) - 1}."
        )
    log = RunLog(stack, client, run, arguments.worker, _write, _say)
    shown = log.show(job)
    if arguments.follow and job is not None:
        return _follow(log, stack, job, named=bool(arguments.run))
    if not shown:
        raise pulumi.RunError(_no_log(stack, run, arguments.worker, job))
    if arguments.follow:
        _say(f"The run {short(run)} has no Job any more; this was its log.")
        published = runs.all_versions(client, stack.output_bucket)
        return 0 if any(one.run_hash.startswith(run) for one in published) else 1
    return 0


def _follow(log: RunLog, stack: Deployed, job: Mapping[str, Any], *, named: bool) -> int:
    before = job_state.ended(job)
    over = log.follow(job)
    now = datetime.now(UTC)
    state = job_state.state_of(over, stack.items("api/v1/pods"), now)
    ago = f" {tables.duration(max(0, (now - before).total_seconds()))} ago," if before else ""
    took = f" after {tables.duration(state.seconds)}" if state.seconds else ""
    why = f": {state.reason}" if state.reason else ""
    became = f"was {state.state}" if state.state == "cancelled" else state.state
    _say(f"The Job '{state.name}' {became}{ago}{took}{why}")
    if before and not named:
        # The one that is expected may not be made yet: an `up` gets there after some seconds.
        _say(
            "It had ended before. If a 'pulumi up' runs now, its Job is not there yet: try again "
            "in a moment. The log of another run: --run HASH ('python -m infra runs' lists them)."
        )
    return 0 if state.state == "succeeded" else 1


def _no_log(stack: Deployed, run: str, worker: int, job: Mapping[str, Any] | None) -> str:
    problem = f"The worker {worker} of the run {short(run)} has written nothing"
    if job is None:
        return f"{problem}. 'python -m infra runs' lists the runs that have."
    state = job_state.state_of(job, stack.items("api/v1/pods"), datetime.now(UTC))
    return f"{problem} yet: its Job is {state.state} ({state.reason or 'just started'}). Wait: -f."


def _find(arguments: argparse.Namespace) -> Deployed:
    return deployed.find(_selected(arguments))


def _selected(arguments: argparse.Namespace) -> Selected:
    return deployed.selected(arguments.stack)


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _port(text: str) -> int:
    number = _whole_number(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 65535 is the last one")
    return number


def _write(content: bytes) -> None:
    """Write to standard output at once: a log is watched."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
