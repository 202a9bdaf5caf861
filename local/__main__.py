"""`python -m local`: this machine's own Kubernetes and Pulumi, and the stack that runs on them."""

import argparse
import contextlib
import errno
import os
import signal
import sys
from pathlib import Path

from . import commands, disk, doctor, person
from .console import LocalError
from .home import REPOSITORY, Home
from .platform import Platform

COMMANDS = {
    command.__name__: command
    for command in (
        commands.up,
        commands.deploy,
        commands.frontend,
        commands.status,
        commands.env,
        commands.destroy,
        commands.down,
        commands.stop,
    )
}

ROOTS = ("up", "stop", "destroy", "down", "node")
"""Commands that need root for a cluster on this machine."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    version = (REPOSITORY / "VERSION").read_text().strip()
    parser.add_argument("--version", action="version", version=f"dlstack {version}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        parsers.add_parser(name, help=command.__doc__, description=command.__doc__)
    doctors = parsers.add_parser("doctor", help=doctor.examine.__doc__)
    doctor.add_flags(doctors)
    runs = parsers.add_parser("run", help=commands.run.__doc__, description=commands.run.__doc__)
    runs.add_argument("words", nargs="+", metavar="WORD", help="the command, behind `--`")
    node = parsers.add_parser("node", help=commands.node.__doc__, description=commands.node.__doc__)
    node.add_argument("name", metavar="NAME", help="as in `kubectl get nodes`")
    node.add_argument("act", choices=commands.NODE_ACTS, help="what becomes of it")
    arguments = parser.parse_args()
    end_as_by_ctrl_c()
    try:
        if arguments.command == "doctor":
            return doctor.examine(arguments)
        platform = Platform()
        if platform.brought_kubeconfig or arguments.command not in ROOTS:
            person.become()
        elif person.behind_sudo():
            # Compiled modules of root's would be in the way of whom the checkout belongs to.
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        platform.pass_by_proxies()
        if arguments.command == "run":
            commands.run(platform, arguments.words)
        elif arguments.command == "node":
            commands.node(platform, arguments.name, arguments.act)
        else:
            COMMANDS[arguments.command](platform)
        # Here and not at the end of the process, where a broken pipe could not be caught.
        sys.stdout.flush()
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"error: {_refused(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read it (`make status | head`) has gone; Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        root = Home.from_environment().root
        if error.errno == errno.ENOSPC:
            print(f"error: {disk.error(root)}", file=sys.stderr)
        elif error.errno == errno.EROFS:
            can_write = "Mount its disk to be written to, or set DLSTACK_HOME to another folder."
            print(f"error: {error.filename or root} can't be changed. {can_write}", file=sys.stderr)
        else:
            raise
        return 1
    except KeyboardInterrupt:
        print("interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def end_as_by_ctrl_c() -> None:
    """Let what ends a command in another way (`kill`, `timeout`, a terminal that closes) undo what
    Ctrl-C undoes. Whoever had it ignored, as `nohup` does, keeps that.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _refused(error: PermissionError) -> str:
    """Say whose file or folder it is that this user may not use."""
    path = Path(str(error.filename)).absolute()
    owner = "somebody else"
    # Of what lies in a folder that this user may not look into, the folder tells.
    for place in (path, *path.parents):
        with contextlib.suppress(OSError, KeyError):
            owner = f"{place.owner()}'s" if place == path else f"in {place}, {place.owner()}'s"
            break
    return (
        f"{path} is {owner}, and this user may not use it ({error.strerror}). If a command run as "
        "root made it, `sudo make up` hands it over; else set DLSTACK_HOME to a folder of yours."
    )


if __name__ == "__main__":
    sys.exit(main())
