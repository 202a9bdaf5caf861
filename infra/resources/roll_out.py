"""Wait until a Deployment serves what it was last told to. Its path is part of stacks' state.

Pulumi's Kubernetes plugin waits for Deployments as well, but it says only at the end what was
wrong, and waits that long for what is hopeless. So it is told not to wait (`names.SKIP_AWAIT`).
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from ..cluster import api, autoscalers, why
from ..cluster.clusters import Cluster
from ..cluster.messages import Trouble
from ..cluster.scale import Scale
from . import engine
from .provider import Provider, changed, inputs_of
from .waiting import LOOK_SECONDS, Waiting

SECONDS = 600
"""Of a roll-out: pulling an image of some GB, fetching the model and loading it."""

_END_SECONDS = 1
"""Of a pod whose Deployment is taken down."""

_GONE_SECONDS = 15
"""How long such pods may take: one of a lost node stays."""

_LOOK_SECONDS = 0.2

_AWAY_SECONDS = 60
"""How long the cluster may be unreachable: its API server may be started anew."""

if TYPE_CHECKING:
    # 0.4 s, and who only asks how a roll-out goes declares nothing.
    from pulumi_kubernetes.apps.v1 import Deployment


def wait(
    cluster: Cluster, namespace: str, name: str, seconds: int, scale: Scale | None = None
) -> None:
    """Return when all pods of the Deployment have its present template and are available.

    What it waits for is shown in the terminal of `pulumi up`.

    Args:
        cluster: where it is.
        namespace: of the Deployment.
        name: of the Deployment.
        seconds: how long it may take.
        scale: how many pods there are to be. The Deployment gets the nearest number at once: an
            autoscaler that has just come would see to it later, and one that has just gone may
            have written another number. None: others say how many.

    Raises:
        pulumi.RunError: that did not come true within `seconds` or the Deployment's own deadline,
            or can't come true until somebody changes something.
    """
    collection = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    path = f"{collection}?fieldSelector=metadata.name={name}"
    waiting = Waiting(f"The Deployment '{name}'", _AWAY_SECONDS)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if engine.is_interrupted():
            raise pulumi.RunError(
                f"The roll-out of the Deployment '{name}' was not waited for to its end. It goes "
                "on: 'python -m infra status' shows how it is, 'pulumi up' waits again."
            )
        deployment = None
        try:
            for deployment in api.watch(cluster, path, max(1, min(LOOK_SECONDS, round(left)))):
                if scale is not None and (pods := _missed(deployment, scale)) is not None:
                    api.patch(cluster, f"{collection}/{name}", {"spec": {"replicas": pods}})
                elif is_complete(deployment):
                    return
            # A server that is short of time ends a watch before it has told anything.
            deployment = deployment or api.get(cluster, f"{collection}/{name}")
            trouble = why.deployment(cluster, deployment) if deployment else None
        except api.NoAnswer as error:
            waiting.outlives(error)
            continue
        if deployment is None:
            raise pulumi.RunError(
                f"The Deployment '{name}' was deleted from the namespace '{namespace}' while its "
                "roll-out was waited for. Run 'pulumi up --refresh', which makes it again."
            )
        goes_on = waiting.sees(trouble)
        failure = failure_of(deployment)
        if failure or not goes_on:
            raise _failed(name, namespace, waiting.trouble, failure or "")
    raise _failed(name, namespace, waiting.trouble, f"it took more than {seconds} s")


def _failed(name: str, namespace: str, trouble: Trouble | None, reason: str) -> pulumi.RunError:
    why_not = (
        str(trouble)
        if trouble
        else f"{reason.rstrip('.')}. 'kubectl describe pods --namespace {namespace}' says what the "
        "new pod lacks."
    )
    return pulumi.RunError(
        f"The roll-out of the Deployment '{name}' failed: {why_not.rstrip('.')}. The old version, "
        "if there is one, serves on. 'python -m infra status' shows how it is."
    )


def is_complete(deployment: dict[str, Any]) -> bool:
    """Say whether a roll-out is over, by the rules of `kubectl rollout status`."""
    wanted, status = deployment["spec"]["replicas"], deployment.get("status", {})
    return _is_current(deployment) and all(
        status.get(count, 0) == wanted
        for count in ("updatedReplicas", "replicas", "availableReplicas")
    )


def failure_of(deployment: dict[str, Any]) -> str | None:
    """Return why the controller gave up the present roll-out, if it did."""
    for condition in deployment.get("status", {}).get("conditions", []):
        if _is_current(deployment) and condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition["message"])
    return None


def _missed(deployment: dict[str, Any], scale: Scale) -> int | None:
    """Return the number of pods that a Deployment is to have; None if it has it."""
    wanted: int = deployment["spec"]["replicas"]
    nearest = scale.nearest(wanted)
    return None if nearest == wanted else nearest


def _is_current(deployment: dict[str, Any]) -> bool:
    """Say whether the status speaks of the present specification."""
    seen: int = deployment.get("status", {}).get("observedGeneration", 0)
    return seen >= int(deployment["metadata"]["generation"])


class _RollOutProvider(Provider):
    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        keys = (
            *("cluster", "namespace", "deployment", "uid", "generation", "seconds"),
            *("has_clients", "scale"),
        )
        return DiffResult(changes=bool(changed(olds, news, *keys)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['namespace']}/{props['deployment']}", _waited(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        outs = inputs_of(props)
        namespace, name = props["namespace"], props["deployment"]
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        found = api.get(props["cluster"], path)
        # Somebody has edited it to and fro: there is nothing left to wait for.
        if found and found["metadata"]["uid"] == props["uid"] and is_complete(found):
            outs["generation"] = found["metadata"]["generation"]
        return ReadResult(id_, outs)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_waited(news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """The Deployment goes by itself; its pods don't wait for clients, where there are some."""
        if props.get("has_clients"):
            _end(props["cluster"], props["namespace"], props["deployment"])


def _end(cluster: Cluster, namespace: str, name: str) -> None:
    """End a Deployment and its pods without what these do for their clients when others stay."""
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    found = api.get(cluster, f"{apps}/deployments/{name}")
    if found is None:
        return
    labels = found["spec"]["selector"]["matchLabels"]
    mine = f"labelSelector={quote(','.join(f'{key}={value}' for key, value in labels.items()))}"
    places = {
        f"{apps}/deployments": f"fieldSelector=metadata.name={name}",
        f"{apps}/replicasets": mine,
        f"/api/v1/namespaces/{namespace}/pods": mine,
    }
    # Each is left by its owner first: that would end it in its own time, or make another.
    how = "propagationPolicy=Orphan"
    try:
        for place, which in places.items():
            for path in _paths(cluster, place, which)[:1]:
                api.delete(cluster, f"{path}?dryRun=All")
    except api.Forbidden:
        return  # They end in their own time.
    for place, which in places.items():
        if place.endswith("/pods"):
            how = f"gracePeriodSeconds={_END_SECONDS}"
        for path in _paths(cluster, place, which):
            api.delete(cluster, f"{path}?{how}")
    # Where it finds a pod, Kubernetes looks at the namespace anew only after half of the time that
    # its template gives it. What else is still there would be deleted in another way than it is.
    end = time.monotonic() + _GONE_SECONDS
    while any(_paths(cluster, *place) for place in places.items()) and time.monotonic() < end:
        engine.pause(_LOOK_SECONDS)


def _paths(cluster: Cluster, place: str, which: str) -> list[str]:
    found = api.items(cluster, f"{place}?{which}")
    return [f"{place}/{one['metadata']['name']}" for one in found]


def _waited(props: dict[str, Any]) -> dict[str, Any]:
    cluster, namespace, name = (props[key] for key in ("cluster", "namespace", "deployment"))
    scale = None
    if (given := props.get("scale")) is not None:
        # The engine's numbers are floats.
        most = given.get("most")
        scale = Scale(least=int(given["least"]), most=None if most is None else int(most))
        if most is None:
            # Pulumi deletes what a stack has no more at the end of an `up`: until then it would
            # go on to scale.
            autoscalers.remove_own(cluster, namespace, name, given["autoscaler"])
    wait(cluster, namespace, name, int(props["seconds"]), scale)
    return inputs_of(props)


class RollOut(Resource, module="apps", name="RollOut"):
    """The end of a Deployment's roll-out."""

    def __init__(
        self,
        name: str,
        *,
        deployment: "Deployment",
        cluster: Cluster,
        seconds: int = SECONDS,
        has_clients: bool = False,
        scale: Scale | None = None,
        autoscaler: Mapping[str, str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare what to wait for.

        Args:
            name: logical name.
            deployment: the Deployment; each change of its specification is a new roll-out.
            cluster: where it is.
            seconds: how long it may take.
            has_clients: whether its pods take their time to end, so that clients find others: not
                when all of them end.
            scale: how many pods there are to be; None: others say so, or nobody does.
            autoscaler: labels of the stack's own, which may be there of an earlier scale.
            opts: resource options.
        """
        props = {
            "cluster": cluster,
            "namespace": deployment.metadata.apply(lambda metadata: metadata.namespace),
            "deployment": deployment.metadata.apply(lambda metadata: metadata.name),
            # Of another Deployment of the same name, the generations are others.
            "uid": deployment.metadata.apply(lambda metadata: metadata.uid),
            "generation": deployment.metadata.apply(lambda metadata: metadata.generation),
            "seconds": seconds,
            "has_clients": has_clients,
        }
        if scale is not None:
            props["scale"] = {"least": scale.least, "autoscaler": dict(autoscaler or {})} | (
                {} if scale.most is None else {"most": scale.most}
            )
        super().__init__(_RollOutProvider(), name, props, opts)
