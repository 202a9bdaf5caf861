"""Plugins of Pulumi that outlive a `pulumi` which was killed: found, and ended.

Pulumi ends its plugins itself unless it is killed (SIGKILL). They notice within five minutes, and
go on with what they have been told to do until then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..machine.processes import end_process

_PROC = Path("/proc")
_PLUGINS = ("pulumi-resource-", "pulumi-language-")
_DYNAMIC_PROVIDER = "pulumi.dynamic"


@dataclass(frozen=True)
class Leftover:
    """A plugin without its `pulumi`."""

    pid: int
    name: str


def end(pulumi_home: str) -> list[Leftover]:
    """End what was left behind by a killed `pulumi` of this PULUMI_HOME.

    Returns:
        What was ended.
    """
    found = list(find(pulumi_home))
    for leftover in found:
        end_process(leftover.pid, 1)
    return found


def find(pulumi_home: str) -> Iterator[Leftover]:
    """The plugins of this PULUMI_HOME without a `pulumi` above them; none without a /proc."""
    for process in _PROC.glob("[0-9]*"):
        try:
            name = _plugin(_words(process))
            if name is None or f"PULUMI_HOME={pulumi_home}" not in _environment(process):
                continue
        except OSError:  # It has ended, or is somebody else's.
            continue
        if not _has_pulumi_above(int(process.name)):
            yield Leftover(int(process.name), name)


def _plugin(words: list[str]) -> str | None:
    """The name of the plugin that a command line starts, also by an interpreter."""
    for word in words[:4]:
        name = Path(word).name
        if name.startswith(_PLUGINS) or name == _DYNAMIC_PROVIDER:
            return name
    return None


def _has_pulumi_above(pid: int) -> bool:
    while pid > 1:
        try:
            words = _words(_PROC / str(pid))
            status = (_PROC / str(pid) / "status").read_text()
        except OSError:
            return False
        if words and Path(words[0]).name == "pulumi":
            return True
        pid = int(status.partition("PPid:")[2].split()[0])
    return False


def _words(process: Path) -> list[str]:
    return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")


def _environment(process: Path) -> list[str]:
    return (process / "environ").read_bytes().decode(errors="replace").split("\0")
