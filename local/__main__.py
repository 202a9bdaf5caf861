"""`python -m local`: this machine's own Kubernetes and Pulumi, and the stack that runs on them."""

import argparse
import sys

from . import commands
from .console import LocalError
from .home import REPOSITORY
from .platform import Platform

COMMANDS = {
    command.__name__: command
    for command in (
        commands.up,
        commands.deploy,
        commands.status,
        commands.env,
        commands.destroy,
        commands.down,
        commands.stop,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    version = (REPOSITORY / "VERSION").read_text().strip()
    parser.add_argument("--version", action="version", version=f"dlstack {version}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        parsers.add_parser(name, help=command.__doc__, description=command.__doc__)
    runs = parsers.add_parser("run", help=commands.run.__doc__, description=commands.run.__doc__)
    runs.add_argument("words", nargs="+", metavar="WORD", help="the command, behind `--`")
    arguments = parser.parse_args()
    try:
        platform = Platform()
        platform.pass_by_proxies()
        if arguments.command == "run":
            commands.run(platform, arguments.words)
        else:
            COMMANDS[arguments.command](platform)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
