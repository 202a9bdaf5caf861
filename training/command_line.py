"""Shared by every command of this package: one `error:` line on stderr, not a traceback."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from store.errors import StoreError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_WORKER_LOST = 75
"""Exit status of a boot file that lost another worker. `EX_TEMPFAIL`, "try again later"."""


class TrainingError(Exception):
    """Something the user can put right. The text says what was wrong and what to do."""

    exit_status = EXIT_FAILED
    """Exit status of the process that this error ends."""


class WorkerLost(TrainingError):
    """Another worker is gone, so this one can't go on; all have to begin again together."""

    exit_status = EXIT_WORKER_LOST


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but not of a flag that has none: `(default: )` says nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, "", []):
            return action.help
        return super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and reports a mistake in one line."""

    def __init__(self, *, prog: str, description: str | None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}. See '{self.prog} --help'.", file=sys.stderr, flush=True)
        sys.exit(EXIT_USAGE)


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Call `main` with the process's arguments and exit with its status.

    A TrainingError becomes one line on stderr, and its exit status; so does a StoreError.
    """
    # The interpreter itself shows no lines of this package when it is imported from an archive.
    sys.excepthook = traceback.print_exception
    try:
        sys.exit(main(sys.argv[1:]))
    except (TrainingError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_status if isinstance(error, TrainingError) else EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def positive_int(text: str) -> int:
    """Parse a flag's value that must be 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 or more")
    return value


def positive_float(text: str) -> float:
    """Parse a flag's value that must be above 0 and finite."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def true_or_false(text: str) -> bool:
    """Parse a flag's value that must be `true` or `false`."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither 'true' nor 'false'")
    return text == "true"
