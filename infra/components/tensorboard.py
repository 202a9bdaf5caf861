"""TensorBoard over all training runs, from a local mirror of their event files.

TensorBoard's own reading of `s3://` is stale or costly; a sidecar keeps a copy fresh in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs
from pulumi_kubernetes.core.v1 import EnvVarArgs, ProbeArgs, TCPSocketActionArgs, VolumeMountArgs
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from ..cluster import names
from ..cluster.clusters import Cluster
from ..cluster.exposure import ServiceType
from ..cluster.pod_defaults import PodDefaults
from ..resources.roll_out import RollOut
from . import pod_specs
from .exposure import Exposed
from .packages import Packages

PORT = 6006

# A scalar is shown at most 10 s after it was written: the agent uploads it within 2 s and the time
# that this takes, the mirror lists the bucket once in 5 s, and TensorBoard looks at its files
# every second. Only the second of these costs requests to the object store.
MIRROR_SECONDS = 5
RELOAD_SECONDS = 1

# What `tensorboard` itself does, without its first step: that loads TensorFlow to say whether it is
# installed, for 2.7 s of a core while a training begins. Pages that need TensorFlow load it.
_SERVE = """
import sys
from tensorboard import program
board = program.TensorBoard()
board.configure(["tensorboard", *sys.argv[1:]])
sys.exit(board.main())
"""


@dataclass(frozen=True, kw_only=True)
class TensorBoardArgs:
    """What TensorBoard shows, and where."""

    namespace: pulumi.Input[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    image: str
    packages: Packages
    """Have the mirror."""
    store_environment: Sequence[EnvVarArgs]
    store_keys: pulumi.Input[str] | None
    """Changes with the credentials in `store_environment`, which running pods don't see."""
    proxy_digest: pulumi.Input[str] | None
    """Changes with the proxy to the world, which running pods don't see either."""
    runs_url: pulumi.Input[str]
    """`s3://` URL below which the runs' event files lie."""
    service_type: ServiceType
    """It has neither encryption nor a token."""
    host: str
    """Address of a node."""
    pods: PodDefaults
    """What all pods of the stack have."""
    cluster: Cluster


class TensorBoard(pulumi.ComponentResource):
    """A TensorBoard that is there before, while and after training runs."""

    url: pulumi.Output[str]

    def __init__(
        self, name: str, args: TensorBoardArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dlstack:tensorboard:TensorBoard", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = names.labels(name, args.instance)
        mirror: list[pulumi.Input[str]] = [
            *("python3", "-m", "training", "mirror"),
            pulumi.Output.concat("--source_url=", args.runs_url),
            "--target_dir=/logs",
            f"--interval_seconds={MIRROR_SECONDS}",
        ]
        board = [
            *("python3", "-c", _SERVE, "--logdir=/logs"),
            *("--host=0.0.0.0", f"--port={PORT}", f"--reload_interval={RELOAD_SECONDS}"),
        ]
        deployment = Deployment(
            f"{name}-server",
            metadata=ObjectMetaArgs(
                name=name,
                namespace=args.namespace,
                labels=labels,
                annotations=names.SKIP_AWAIT,
            ),
            spec=DeploymentSpecArgs(
                replicas=1,
                selector=LabelSelectorArgs(match_labels=names.selector(name, args.instance)),
                template=pod_specs.template(
                    labels,
                    [
                        pod_specs.container(
                            name,
                            args.image,
                            board,
                            mounts=[
                                VolumeMountArgs(name="logs", mount_path="/logs", read_only=True)
                            ],
                            ports={names.TENSORBOARD_PORT: PORT},
                            resources=pod_specs.requests("50m", "256Mi", memory_limit="2Gi"),
                            readiness=ProbeArgs(
                                tcp_socket=TCPSocketActionArgs(port=names.TENSORBOARD_PORT),
                                period_seconds=1,
                            ),
                        ),
                        pod_specs.container(
                            "mirror",
                            args.image,
                            mirror,
                            packages=args.packages,
                            env=args.store_environment,
                            mounts=[VolumeMountArgs(name="logs", mount_path="/logs")],
                            resources=pod_specs.requests("25m", "128Mi", memory_limit="512Mi"),
                            proxied=True,
                        ),
                    ],
                    volumes=[args.packages.volume, pod_specs.scratch("logs")],
                    annotations=_annotations(args) or None,
                    # It holds nothing that isn't in the bucket.
                    grace_seconds=1,
                    pods=args.pods,
                ),
            ),
            opts=child,
        )
        rolled_out = RollOut(
            f"{name}-roll-out", deployment=deployment, cluster=args.cluster, opts=child
        )
        exposed = Exposed(
            name,
            namespace=args.namespace,
            instance=args.instance,
            ports={names.TENSORBOARD_PORT: PORT},
            service_type=args.service_type,
            host=args.host,
            ready=[rolled_out],
            opts=child,
        )
        self.url = exposed.url(names.TENSORBOARD_PORT)
        self.register_outputs({"url": self.url})


def _annotations(args: TensorBoardArgs) -> dict[str, pulumi.Input[str]]:
    """Return what makes the pods start anew when it changes."""
    found = {
        names.STORE_KEYS_ANNOTATION: args.store_keys,
        names.PROXY_ANNOTATION: args.proxy_digest,
    }
    return {name: value for name, value in found.items() if value is not None}
