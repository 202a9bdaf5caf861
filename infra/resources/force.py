"""Whether `destroy` may delete what it would refuse to: `dlstack:forceDestroy` as it is set now.

The state has what it was at the last `up`, and Pulumi tells a provider no more at a `destroy`.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from . import engine

_SECONDS = 60
"""`pulumi` asks its back end, which may be far."""


def is_forced(props: Mapping[str, Any]) -> bool:
    """Say whether the resource with `props` goes with all it holds. Ask only if that matters."""
    stack = engine.stack()
    now = _configured(stack) if stack else None
    return bool(props.get("force_destroy")) if now is None else now


@functools.cache
def _configured(stack: str) -> bool | None:
    """Return what the stack's configuration says; None if Pulumi can't be asked."""
    program = shutil.which("pulumi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "config", "get", "dlstack:forceDestroy", "--stack", stack],
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() == "true" if done.returncode == 0 else None
