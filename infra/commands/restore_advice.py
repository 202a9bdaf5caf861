"""What comes before a restore, after it, and in its place, in the user's words."""

from collections.abc import Mapping, Sequence

from ..cluster import served
from ..cluster.served import Served
from .deployed import Deployed

_PIN = "pulumi config set dlstack:modelVersion"


def after(stack: Deployed, versions: Mapping[str, Sequence[int]]) -> str:
    """Return how to serve what was restored: the newest version that doesn't serve already.

    Without a pin, `pulumi up` serves the version of the configured run, and may train it first.

    Args:
        stack: it has the versions now.
        versions: model -> numbers of what was restored.
    """
    model = _model(stack, versions)
    now = served.find(stack.cluster, stack.namespace)
    others = [one for one in versions[model] if Served(model, one) != now]
    if not others:
        return f"What serves is what was restored: {now}"
    commands = ["pulumi up"]
    if model != stack.model_name:
        commands.insert(0, f"pulumi config set dlstack:modelName {model}")
    elif stack.pinned_version in others:
        return f"Serve version {stack.pinned_version}, which is pinned: pulumi up"
    if not stack.deploys:
        commands.insert(-1, "pulumi config rm dlstack:deploy")
    commands.insert(-1, f"{_PIN} {max(others)}")
    return f"Serve version {max(others)} of what is restored: {' && '.join(commands)}"


def of_conflict(stack: Deployed, versions: Mapping[str, Sequence[int]]) -> str:
    """Return where a backup can go whose numbers the stack has given to other versions."""
    return (
        "Restore into a new stack that has no versions: 'pulumi stack init NAME', the "
        f"configuration of this one, and before its first 'pulumi up' '{_PIN} "
        f"{max(versions[_model(stack, versions)])}', so that it trains none (docs/versions.md, "
        "Backup)."
    )


def before_deployment(versions: Mapping[str, Sequence[int]]) -> str:
    """Return how a stack gets its buckets without a version of its own under these numbers."""
    newest = str(max(next(iter(versions.values())))) if len(versions) == 1 else "VERSION"
    return (
        f"Name the version that is to serve: '{_PIN} {newest}'. Then 'pulumi up' makes the buckets "
        "and trains nothing, and says that the version is not published; then restore again "
        "(docs/versions.md, Backup)."
    )


def _model(stack: Deployed, versions: Mapping[str, Sequence[int]]) -> str:
    return stack.model_name if stack.model_name in versions else min(versions)
