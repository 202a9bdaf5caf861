"""The stack that `test_status.py` describes, for all commands."""

from tests.infra.commands.test_status import bucket, run, stack

__all__ = ["bucket", "run", "stack"]
