"""The commands of `python -m infra` that keep, fetch and take away versions of models."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pulumi

from . import backup, deployed, download, prune, restore_advice, tables
from .deployed import NotDeployed, Selected

Selects = Callable[[argparse.Namespace], Selected]
Say = Callable[[str], None]
"""Writes a line to standard error."""


def declare(
    command: Callable[..., argparse.ArgumentParser],
    as_json: argparse.ArgumentParser,
    selected: Selects,
    say: Say,
) -> None:
    """Declare the commands.

    Args:
        command: declares one, from its name, its function, a text and parents.
        as_json: the parent with `--json`.
        selected: returns the stack that a command line means.
        say: writes to standard error.
    """

    def _download(arguments: argparse.Namespace) -> int:
        stack = deployed.find(selected(arguments))
        found = download.download(
            stack,
            arguments.model or stack.model_name,
            arguments.version_number,
            Path(arguments.folder),
            with_data=arguments.data,
        )
        if arguments.json:
            print(json.dumps(download.as_json(found), indent=2))
            return 0
        print(download.as_text(found, tables.terminal_width()))
        place = (found.folder / download.MODEL).resolve()
        say(f"Another stack serves it: pulumi config set dlstack:model {place}")
        return 0

    def _prune(arguments: argparse.Namespace) -> int:
        chosen = selected(arguments)
        done = prune.prune(
            deployed.find(chosen), chosen, arguments.keep, arguments.model, delete=arguments.yes
        )
        if arguments.json:
            print(json.dumps(prune.as_json(done), indent=2))
        else:
            print(prune.as_text(done, tables.terminal_width()))
        if not done.deleted and done.found.all:
            model = f" --model {arguments.model}" if arguments.model else ""
            say(f"Nothing is deleted yet: python -m infra prune --keep {done.keep}{model} --yes")
        return 0

    def _backup(arguments: argparse.Namespace) -> int:
        stack = deployed.find(selected(arguments))
        done = backup.backup(stack, arguments.where, arguments.model, with_data=arguments.data)
        if arguments.json:
            print(json.dumps(backup.backed_up_json(done), indent=2))
        else:
            print(backup.backed_up_text(done, tables.terminal_width()))
            say(f"Back into this stack or a new one: python -m infra restore {done.where}")
        return 0

    def _restore(arguments: argparse.Namespace) -> int:
        chosen = selected(arguments)
        try:
            stack = deployed.find(chosen)
        except NotDeployed as error:
            advice = restore_advice.before_deployment(chosen, backup.versions_of(arguments.where))
            raise pulumi.RunError(f"{error.problem} {advice}") from error
        done = backup.restore(stack, chosen, arguments.where)
        if arguments.json:
            print(json.dumps(backup.restored_json(done), indent=2))
        else:
            print(backup.restored_text(done, tables.terminal_width()))
            say(restore_advice.after(stack, chosen, done.versions))
        return 0

    fetched = command(
        "download", _download, "a published version as a folder: model, manifest, code", as_json
    )
    fetched.add_argument("version_number", metavar="VERSION", type=_number, help="its number")
    fetched.add_argument("folder", metavar="DIR", help="a new or an empty folder")
    fetched.add_argument("--data", action="store_true", help="the data set, too (default: no)")
    _of_a_model(fetched)
    pruned = command(
        "prune", _prune, "what old versions can go, with their runs, code and data", as_json
    )
    pruned.add_argument(
        "--keep",
        type=_count,
        required=True,
        metavar="N",
        help="so many of the newest versions of each model stay, and what serves; no default",
    )
    pruned.add_argument(
        "--yes", action="store_true", help="delete what can go (default: only say what)"
    )
    pruned.add_argument(
        "--model", metavar="NAME", help="versions of this model only (default: of all models)"
    )
    kept = command(
        "backup", _backup, "the versions, with code and logs, in a file or another store", as_json
    )
    kept.add_argument(
        "where", metavar="FILE|s3://…", help="a new file, or a URL in the store of AWS_* here"
    )
    kept.add_argument("--data", action="store_true", help="the data sets, too (default: no)")
    kept.add_argument(
        "--model", metavar="NAME", help="versions of this model only (default: of all models)"
    )
    put_back = command("restore", _restore, "the versions of a backup, put back", as_json)
    put_back.add_argument("where", metavar="FILE|s3://…", help="what 'backup' has written")


def _of_a_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="NAME", help="name of the model (default: that of the stack)"
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of versions: keep 1 or more")
    return int(text)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a version: they are 1, 2, 3, …")
    return int(text)
