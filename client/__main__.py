"""`python -m client`."""

from .cli import run

run()
