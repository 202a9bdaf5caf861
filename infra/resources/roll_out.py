"""Wait until a Deployment serves what it was last told to. Its path is part of stacks' state.

Pulumi's Kubernetes plugin waits for Deployments as well, but it says only at the end what was
wrong, and waits that long for what is hopeless. So it is told not to wait (`names.SKIP_AWAIT`).
"""

import time
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from ..cluster import api, why
from ..cluster.clusters import Cluster
from ..cluster.messages import Trouble
from . import engine
from .provider import Provider, changed, inputs_of
from .waiting import LOOK_SECONDS, Waiting

SECONDS = 600
"""Of a roll-out: pulling an image of some GB, fetching the model and loading it."""

_AWAY_SECONDS = 60
"""How long the cluster may be unreachable: its API server may be started anew."""

if TYPE_CHECKING:
    # 0.4 s, and who only asks how a roll-out goes declares nothing.
    from pulumi_kubernetes.apps.v1 import Deployment


def wait(cluster: Cluster, namespace: str, name: str, seconds: int) -> None:
    """Return when all pods of the Deployment have its present template and are available.

    What it waits for is shown in the terminal of `pulumi up`.

    Raises:
        pulumi.RunError: that did not come true within `seconds` or the Deployment's own deadline,
            or can't come true until somebody changes something.
    """
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments?fieldSelector=metadata.name={name}"
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
                if is_complete(deployment):
                    return
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


def _is_current(deployment: dict[str, Any]) -> bool:
    """Say whether the status speaks of the present specification."""
    seen: int = deployment.get("status", {}).get("observedGeneration", 0)
    return seen >= int(deployment["metadata"]["generation"])


class _RollOutProvider(Provider):
    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        keys = ("cluster", "namespace", "deployment", "uid", "generation", "seconds")
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

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The Deployment goes by itself."""


def _waited(props: dict[str, Any]) -> dict[str, Any]:
    wait(props["cluster"], props["namespace"], props["deployment"], int(props["seconds"]))
    return inputs_of(props)


class RollOut(Resource, module="apps", name="RollOut"):
    """The end of a Deployment's roll-out."""

    def __init__(
        self,
        name: str,
        *,
        deployment: "Deployment",
        cluster: Cluster,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare what to wait for.

        Args:
            name: logical name.
            deployment: the Deployment; each change of its specification is a new roll-out.
            cluster: where it is.
            opts: resource options.
        """
        props = {
            "cluster": cluster,
            "namespace": deployment.metadata.apply(lambda metadata: metadata.namespace),
            "deployment": deployment.metadata.apply(lambda metadata: metadata.name),
            # Of another Deployment of the same name, the generations are others.
            "uid": deployment.metadata.apply(lambda metadata: metadata.uid),
            "generation": deployment.metadata.apply(lambda metadata: metadata.generation),
            "seconds": SECONDS,
        }
        super().__init__(_RollOutProvider(), name, props, opts)
