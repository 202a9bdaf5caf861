"""The flavours that every stack has: names for what a job or a service reserves."""

from collections.abc import Mapping

import pulumi

from ..cluster.flavour import Flavour


def _flavour(
    name: str, cpu: float, memory: float, limit: float | None = None, gpus: int = 0
) -> Flavour:
    return Flavour(
        name=name, cpu=cpu, memory_gib=memory, memory_limit_gib=limit or memory, gpus=gpus
    )


TABLE: Mapping[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        _flavour("cpu-small", 0.1, 0.5, limit=2),
        _flavour("cpu", 1, 2, limit=4),
        _flavour("cpu-2", 2, 8),
        _flavour("cpu-4", 4, 16),
        _flavour("cpu-8", 8, 64),
        _flavour("gpu-1", 8, 64, gpus=1),
        _flavour("gpu-2", 16, 128, gpus=2),
        _flavour("gpu-4", 32, 256, gpus=4),
    )
}
"""Those that every stack has, smallest first."""


def find(name: str, key: str, table: Mapping[str, Flavour] = TABLE) -> Flavour:
    """Return the flavour `name`; `key` is the configuration key that asked for it."""
    try:
        return table[name]
    except KeyError:
        raise pulumi.RunError(
            f"{key} '{name}' is not a flavour. Use one of: {', '.join(table)}; or describe it in "
            "dlstack:flavours."
        ) from None
