"""What comes before a restore, after it, and in its place, in the user's words."""

from collections.abc import Mapping, Sequence

from ..cluster import served
from ..cluster.served import Served
from .deployed import Deployed, Selected

_PIN = "pulumi config set dlstack:modelVersion"


def after(stack: Deployed, chosen: Selected, versions: Mapping[str, Sequence[int]]) -> str:
    """Return how to serve what was restored: the newest version that doesn't serve already.

    Without a pin, `pulumi up` serves the version of the configured run, and may train it first.

    Args:
        stack: it has the versions now.
        chosen: the same, with its configuration.
        versions: model -> numbers of what was restored.
    """
    model = _model(stack, versions)
    now = served.find(stack.cluster, stack.namespace)
    others = [one for one in versions[model] if Served(model, one) != now]
    if not others:
        return f"What serves is what was restored: {now}"
    commands = [*_pin(chosen, max(others)), "pulumi up"]
    if model != stack.model_name:
        commands.insert(0, f"pulumi config set dlstack:modelName {model}")
    elif stack.pinned_version in others:
        return f"Serve version {stack.pinned_version}, which is pinned: pulumi up"
    return f"Serve version {max(others)} of what is restored: {' && '.join(commands)}"


def of_conflict(stack: Deployed, chosen: Selected, versions: Mapping[str, Sequence[int]]) -> str:
    """Return where a backup can go whose numbers the stack has given to other versions."""
    pin = " && ".join(_pin(chosen, max(versions[_model(stack, versions)])))
    return (
        "Restore into a new stack that has no versions: 'pulumi stack init NAME', the "
        f"configuration of this one, and before its first 'pulumi up' '{pin}', so that it trains "
        "none (docs/versions.md, Backup)."
    )


def before_deployment(chosen: Selected, versions: Mapping[str, Sequence[int]]) -> str:
    """Return how a stack gets its buckets without a version of its own under these numbers."""
    newest = max(next(iter(versions.values()))) if len(versions) == 1 else "VERSION"
    return (
        f"Name the version that is to serve: '{' && '.join(_pin(chosen, newest))}'. Then 'pulumi "
        "up' makes the buckets and trains nothing, and says that the version is not published; "
        "then restore again (docs/versions.md, Backup)."
    )


def _pin(chosen: Selected, version: int | str) -> list[str]:
    """Return the commands that pin a version, as the configuration is now: it has no other model
    then, and serves what it has."""
    commands = [f"{_PIN} {version}"]
    if not chosen.deploys:
        commands.insert(0, "pulumi config rm dlstack:deploy")
    if chosen.model:
        commands.insert(0, "pulumi config rm dlstack:model")
    return commands


def _model(stack: Deployed, versions: Mapping[str, Sequence[int]]) -> str:
    return stack.model_name if stack.model_name in versions else min(versions)
