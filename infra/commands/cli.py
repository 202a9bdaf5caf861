"""The commands of `python -m infra`: a deployed stack's status, its runs, their logs, their end.

Answers go to standard output and everything else to standard error. The exit status is 0 when all
went well, 1 when not (with `logs -f`: the Job failed), 2 when the arguments make no sense.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi

from store.errors import StoreError

from ..run import packages
from ..run.run_hash import short
from . import cancel, deployed, job_state, runs, status, status_text
from .deployed import Deployed
from .job_log import RunLog

PROGRAM = "python -m infra"

_EPILOG = """\
The stack is that of the Pulumi project in the current folder: --stack, else PULUMI_STACK, else the
one that `pulumi stack select` chose. The cluster is KUBECONFIG's.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = _parser().parse_args(argv)
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

    def command(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        result = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            parents=[common],
        )
        result.set_defaults(function=function)
        return result

    for name, function, text in (
        ("status", _status, "job, models, what is served, and the addresses"),
        ("runs", _runs, "the training runs that left a log, and what they published"),
    ):
        command(name, function, text).add_argument(
            "--json", action="store_true", help="one JSON object (default: a table)"
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
    return parser


def _status(arguments: argparse.Namespace) -> int:
    found = status.read(_find(arguments), datetime.now(UTC))
    if arguments.json:
        print(json.dumps(status.as_json(found), indent=2))
    else:
        print(status_text.status_text(found))
    if found.problem:
        _say(f"error: {found.problem}")
    return 1 if found.problem else 0


def _runs(arguments: argparse.Namespace) -> int:
    stack = _find(arguments)
    client = stack.connect()
    published = runs.versions(client, stack.output_bucket, stack.model_name)
    found = runs.runs(client, stack.output_bucket, published)
    if arguments.json:
        print(json.dumps({"runs": [runs.as_json(run) for run in found]}, indent=2))
    elif found:
        print(status_text.runs_text(found))
    else:
        print("no run has left a log yet")
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
        past = [run.run for run in runs.runs(client, stack.output_bucket, ())]
        known = [job_state.run_hash(one) for one in jobs if job_state.run_hash(one)] + past
        if not known:
            raise pulumi.RunError(
                f"The stack '{stack.name}' has had no training run yet. 'pulumi up' starts one."
            )
        run = runs.the_run(arguments.run, known) if arguments.run else known[0]
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
        return _follow(log, stack, job)
    if not shown:
        raise pulumi.RunError(_no_log(stack, run, arguments.worker, job))
    if arguments.follow:
        _say(f"The run {short(run)} has no Job any more; this was its log.")
        published = runs.versions(client, stack.output_bucket, stack.model_name)
        return 0 if any(one.run_hash.startswith(run) for one in published) else 1
    return 0


def _follow(log: RunLog, stack: Deployed, job: Mapping[str, Any]) -> int:
    ended = log.follow(job)
    state = job_state.state_of(ended, stack.items("api/v1/pods"), datetime.now(UTC))
    took = f" after {status_text.duration_text(state.seconds)}" if state.seconds else ""
    why = f": {state.reason}" if state.reason else ""
    _say(f"The Job '{state.name}' {state.state}{took}{why}")
    return 0 if state.state == "succeeded" else 1


def _no_log(stack: Deployed, run: str, worker: int, job: Mapping[str, Any] | None) -> str:
    problem = f"The worker {worker} of the run {short(run)} has written nothing"
    if job is None:
        return f"{problem}. 'python -m infra runs' lists the runs that have."
    state = job_state.state_of(job, stack.items("api/v1/pods"), datetime.now(UTC))
    return f"{problem} yet: its Job is {state.state} ({state.reason or 'just started'}). Wait: -f."


def _find(arguments: argparse.Namespace) -> Deployed:
    return deployed.find(deployed.selected(arguments.stack))


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _write(content: bytes) -> None:
    """Write to standard output at once: a log is watched."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
