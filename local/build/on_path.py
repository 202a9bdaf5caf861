"""Programs on PATH that are taken in place of ours: only if their version will do."""

import re
import shutil
import subprocess
from collections.abc import Sequence

from ..console import say
from ..person import as_person

_SECONDS = 20.0


def usable(name: str, words: Sequence[str], oldest: tuple[int, ...]) -> str | None:
    """The path of a program on PATH, if it works and is new enough; says why it is not taken.

    Args:
        words: by which it says its version.
        oldest: version that will do.
    """
    found = shutil.which(name)
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            **as_person(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"not using {found}, which does not run: {error}")
        return None
    said = re.search(r"\d+(?:\.\d+)+", done.stdout)
    if done.returncode or said is None:
        say(f"not using {found}, which does not say its version: {done.stderr.strip()[-200:]}")
        return None
    if tuple(map(int, said.group().split("."))) < oldest:
        needed = ".".join(map(str, oldest))
        say(f"not using {found}: it is {said.group()}, and {needed} or newer is needed")
        return None
    return found
