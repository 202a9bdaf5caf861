"""`python -m client`."""

from ._command.cli import run

run()
