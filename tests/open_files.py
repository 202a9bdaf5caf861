"""A process all of whose files are open."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_other_file() -> Iterator[None]:
    """Let this process open no file meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as lowest_free:
        limit = lowest_free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
