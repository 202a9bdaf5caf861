"""Variables that are the boot file's alone: `dlstack:env` and `dlstack:secretEnv`."""

from collections.abc import MutableMapping

PREFIX = "DLSTACK_BOOT_"
"""In the pod's environment: so that none of them means anything to the agent."""


def take(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Remove them from the agent's `environment`; return them under the names that users gave."""
    names = [name for name in environment if name.startswith(PREFIX)]
    return {name.removeprefix(PREFIX): environment.pop(name) for name in names}
