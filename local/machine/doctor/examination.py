"""All that is looked at: in a moment before each start, and thoroughly when a person asks."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator

from .. import packages
from . import (
    clock,
    control_groups,
    disk,
    firewall,
    kernel,
    neighbours,
    networks,
    registries,
    resources,
    system,
)
from .facts import Machine, Needs
from .finding import Finding


def quick(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """What files tell. For a cluster that was made before, no process is started."""
    yield from _common(machine, needs, every_route=not needs.made)


def thorough(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """All of `quick`, and what takes a trial, another program or a network."""
    yield from _common(machine, needs, every_route=True)
    yield from system.python(machine, sys.version_info[:3], _has_venv())
    if machine.system == "linux":
        yield system.packages(machine, packages.missing())
        yield from kernel.trial(machine, needs)
        yield from firewall.examine(machine)
        yield from neighbours.examine(machine, needs)
    yield from _world(machine, needs)


def for_brought(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """What is needed beside a cluster that is brought."""
    yield from disk.space(machine, needs)
    yield from system.python(machine, sys.version_info[:3], _has_venv())
    yield from neighbours.proxies(machine)
    yield from _world(machine, needs)


def _world(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """Registries, and the clock by theirs."""
    urls = registries.addresses(machine)
    answers = registries.ask({name: url for name, url in urls.items() if url})
    yield from registries.examine(urls, answers, needs)
    times = {url.split("/")[2].rpartition("@")[2]: at for url, (at, _) in answers.items() if at}
    yield from clock.against(machine, times)


def _common(machine: Machine, needs: Needs, every_route: bool) -> Iterator[Finding]:
    yield from system.examine(machine)
    if machine.system == "linux":
        yield from kernel.examine(machine)
        yield from control_groups.examine(machine)
        yield from resources.examine(machine, needs)
    yield from disk.examine(machine, needs)
    if machine.system == "linux":
        yield from networks.examine(machine, needs, every_route)
    yield from neighbours.proxies(machine)
    yield from clock.examine(machine, needs)


def _has_venv() -> bool:
    """Whether this Python makes virtual environments: Debian has that in a package of its own."""
    inside = sys.prefix != sys.base_prefix
    return inside or importlib.util.find_spec("ensurepip") is not None and os.name == "posix"
