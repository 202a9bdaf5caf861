"""The model server's front end, built from the sources of this checkout."""

import functools
from pathlib import Path

from local.build.programs import FRONTEND, programs_of
from local.home import Home


@functools.cache
def program() -> Path:
    """Build the program unless it is in the cache; return its path.

    Raises:
        LocalError: it can't be built.
    """
    return programs_of(Home.from_environment()).build(FRONTEND)
