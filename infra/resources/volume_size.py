"""The size of the in-stack store's volume, which may grow, as a dynamic resource.

Pulumi leaves the claim as it was made: another spec would be another, empty volume. So what asks
for more is a change of the claim in place. This path is part of existing stacks' state.
"""

import time
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult
from pulumi.output import Unknown

from ..cluster import api
from ..cluster.clusters import Cluster
from ..cluster.quantities import quantity
from .engine import tell
from .provider import Provider, changed, inputs_of

_GROWN_SECONDS = 120.0
"""So long it is waited for a volume that grows. It goes on after that by itself."""
_ASK_AGAIN_SECONDS = 1.0


class _VolumeSizeProvider(Provider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        changes = changed(_olds, _news, "namespace", "claim", "size")
        if changes == ["size"] and not any(isinstance(one, Unknown) for one in _news.values()):
            # A preview has to say it, too. It makes one request, and that only then.
            _refuse_less(_claim(_news), _news["size"])
        return DiffResult(changes=bool(changes), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        _grow(props)
        return CreateResult(props["claim"], inputs_of(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        _grow(_news)
        return UpdateResult(inputs_of(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Leave the claim to its own resource."""


def _grow(props: dict[str, Any]) -> None:
    """Ask for a larger volume, if the claim asks for less, and wait until it is that large.

    Raises:
        pulumi.RunError: it can't grow, or would have to shrink.
    """
    cluster, size, path = props["cluster"], props["size"], _path(props)
    claim = _claim(props)
    _refuse_less(claim, size)
    if claim is None or quantity(asked := _asked(claim)) == quantity(size):
        return
    try:
        api.patch(cluster, path, {"spec": {"resources": {"requests": {"storage": size}}}})
    except pulumi.RunError as error:
        raise pulumi.RunError(
            f"The volume of the object store stays as it is, with {asked}, and nothing of it is "
            f"lost: it can't grow to dlstack:storageSize '{size}'. Its StorageClass "
            f"'{claim['spec'].get('storageClassName', '')}' has to have allowVolumeExpansion: "
            f"true, and a quota may not be in the way. {error} Else set dlstack:storageSize back "
            f"to {asked}."
        ) from error
    _wait(cluster, path, size)


def _path(props: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{props['namespace']}/persistentvolumeclaims/{props['claim']}"


def _claim(props: dict[str, Any]) -> dict[str, Any] | None:
    return api.get(props["cluster"], _path(props))


def _asked(claim: dict[str, Any]) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])


def _refuse_less(claim: dict[str, Any] | None, size: str) -> None:
    """Raise pulumi.RunError if the claim asks for more than `size`."""
    if claim is not None and quantity(asked := _asked(claim)) > quantity(size):
        raise pulumi.RunError(
            f"dlstack:storageSize '{size}' is less than the volume of the object store has: no "
            f"volume shrinks. Run 'pulumi config set dlstack:storageSize {asked}'."
        )


def _wait(cluster: Cluster, path: str, size: str) -> None:
    deadline = time.monotonic() + _GROWN_SECONDS
    while (claim := api.get(cluster, path)) is not None:
        status = claim.get("status", {})
        has = status.get("capacity", {}).get("storage")
        if has is None:
            # No pod has used it yet: it is made as large as it is asked for.
            return
        if quantity(has) >= quantity(size):
            tell(f"The volume of the object store has {has} now.", stays=True)
            return
        if time.monotonic() > deadline:
            waits = "; ".join(
                one.get("message") or one["type"] for one in status.get("conditions", ())
            )
            tell(
                f"The volume of the object store has {has} still; {size} are asked for. It grows "
                f"by itself{f' ({waits})' if waits else ''}: 'kubectl describe pvc' shows it.",
                stays=True,
            )
            return
        time.sleep(_ASK_AGAIN_SECONDS)


class VolumeSize(Resource, module="volumes", name="VolumeSize"):
    """Has the volume of a claim grow to what is configured."""

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        namespace: pulumi.Input[str],
        claim: pulumi.Input[str],
        size: str,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Declare the size of a claim's volume.

        Args:
            name: logical name.
            cluster: where it is.
            namespace: of the claim.
            claim: its name.
            size: as Kubernetes writes sizes.
            opts: resource options.
        """
        props = {"cluster": cluster, "namespace": namespace, "claim": claim, "size": size}
        super().__init__(_VolumeSizeProvider(), name, props, opts)
