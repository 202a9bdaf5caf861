"""Whether this machine can host the embedded cluster, and the cure for what it lacks.

`make doctor` runs it before anything is installed: it needs no package and only Python 3.9.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from . import node_count
from .console import LocalError, say
from .home import Home
from .machine.doctor import examination, kernel, report
from .machine.doctor.facts import Machine, Needs
from .machine.doctor.finding import WARNING, Finding, problem
from .machine.processes import Daemon
from .machine.ranges import Ranges
from .ports import GRPC_NODE_PORT, addresses

# Measured, with some air: Go's sources and objects 8 GiB, images and their archives 5 GiB.
COLD_GIBIBYTES = 18
# Of these, what containerd's copy of the images takes and the stack.
BUILT_GIBIBYTES = 8
WARM_GIBIBYTES = 2
IGNORE = "DLSTACK_IGNORE"
"""Variable: names of findings, with commas between, that are to stop nobody."""


def needs(home: Home) -> Needs:
    """What the cluster of `home` needs at its next start."""
    made = (home.platform / "pki" / "admin.kubeconfig").exists()
    built = any(home.cache.glob("image-*_runtime-*.tar"))
    pids = home.platform / "pids"
    names = [file.name for file in pids.iterdir()] if pids.exists() else []
    return Needs(
        home=home.root,
        gibibytes=WARM_GIBIBYTES if made else BUILT_GIBIBYTES if built else COLD_GIBIBYTES,
        network=Ranges.of_cluster(home.platform).all,
        # The last two are of the cluster of an earlier version, until `up` has stopped it.
        devices=(f"{home.name}*", "dlstack0", "lo"),
        ports={GRPC_NODE_PORT: "the predictions of a new stack (gRPC)"},
        addresses=tuple(addresses()),
        made=made,
        nodes=node_count.asked() or node_count.count(home.platform),
        processes=tuple(pid for name in names if (pid := Daemon(name, (), home.platform).pid())),
    )


def check(home: Home) -> None:
    """Refuse a machine that can't host the cluster, and say in a line each what may go wrong.

    It takes some milliseconds and starts no process.

    Raises:
        LocalError: it names each problem with its cure.
    """
    _judge(examination.quick(Machine(), needs(home)))


def try_out(home: Home) -> None:
    """Refuse a kernel or a disk that fails a trial, before the first start and that of more nodes.

    Later starts have passed.

    Raises:
        LocalError: it names each problem with its cure.
    """
    need = needs(home)
    if not need.made or need.nodes > node_count.count(home.platform):
        _judge(kernel.trial(Machine(), need))


def _judge(examined: Iterable[Finding]) -> None:
    findings = _ignoring(examined)
    if bad := report.problems(findings):
        raise LocalError(
            "\n  ".join(["this machine can't host the cluster.", *(one.sentence for one in bad)]),
            f"\n  `make doctor` says more; {IGNORE}={','.join(one.name for one in bad)!r} goes on "
            "all the same.",
        )
    for one in findings:
        if one.state == WARNING:
            say(one.sentence)


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs (docs/contracts.md)")


def examine(arguments: argparse.Namespace) -> int:
    """Show what this machine has and lacks; status 1 if something keeps `up` from working."""
    try:
        findings = _examined(arguments)
    except LocalError as error:
        if not arguments.json:
            raise
        findings = [problem("settings", error.what.rstrip("."), error.remedy)]
    if arguments.json:
        print(report.as_json(findings))
    else:
        print(report.table(findings, min(shutil.get_terminal_size().columns, 120)))
    return 1 if report.problems(findings) else 0


def _examined(arguments: argparse.Namespace) -> list[Finding]:
    home = Home.from_environment()
    if brought := _brought(home):
        if not arguments.json:
            print(f"`make up` uses the cluster of {brought}, and needs beside it:\n")
        need = replace(needs(home), gibibytes=WARM_GIBIBYTES, made=True)
        return _ignoring(examination.for_brought(Machine(), need))
    return _ignoring(examination.thorough(Machine(), needs(home)))


def _brought(home: Home) -> str:
    """The variable that names a cluster of the person's own, with its value; empty: there is none.

    As local/platform.py has it, which can't be imported before the packages are there.
    """
    for variable in ("DLSTACK_CONTEXT", "KUBECONFIG"):
        value = os.environ.get(variable, "")
        if (
            value
            and Path(value.partition(os.pathsep)[0]) != home.platform / "pki" / "admin.kubeconfig"
        ):
            return f"{variable}={value}"
    return ""


def _ignoring(findings: Iterable[Finding]) -> list[Finding]:
    """Make warnings of the problems that the environment names."""
    ignored = {name.strip() for name in os.environ.get(IGNORE, "").split(",")}
    return [
        replace(one, state=WARNING) if one.name in ignored and one.cure else one for one in findings
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.doctor", description=examine.__doc__)
    add_flags(parser)
    try:
        return examine(parser.parse_args())
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
