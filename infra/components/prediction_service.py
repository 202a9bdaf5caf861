"""The prediction service: one published version of a model, over gRPC, REST and a web page.

The version is an argument of the pods' init container, so a new one is Kubernetes' own roll-out:
old pods serve until new ones are Ready, and they are Ready when their model is loaded.
"""

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from ..cluster import names, served
from ..resources.roll_out import RollOut
from . import prediction_commands as commands
from . import scaling
from .exposure import Exposed
from .prediction_args import PredictionServiceArgs
from .prediction_commands import GRPC_PORT, PAGE_PORT, REST_PORT
from .prediction_pod import encrypts, pod
from .routes import Routes

_DEADLINE_SECONDS = 30
"""How much sooner the Deployment's controller gives up than who waits for it, who says why."""


class PredictionService(pulumi.ComponentResource):
    """A model behind a Service."""

    host: pulumi.Output[str]
    grpc_port: pulumi.Output[int]
    rest_url: pulumi.Output[str]
    page_url: pulumi.Output[str]

    def __init__(
        self, name: str, args: PredictionServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dlstack:serving:PredictionService", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        monitoring = None
        if args.scraping:
            monitoring = ConfigMap(
                f"{name}-monitoring",
                metadata=ObjectMetaArgs(
                    name=names.MONITOR,
                    namespace=args.namespace,
                    labels=names.labels(names.MONITOR, args.instance),
                ),
                data={commands.MONITORING_FILE: commands.MONITORING},
                opts=child,
            )
        deployment = _deployment(
            name,
            args,
            # Its name is plain text, and says nothing of an order.
            pulumi.ResourceOptions(parent=self, depends_on=[monitoring] if monitoring else []),
        )
        autoscaler = scaling.declare(
            name,
            namespace=args.namespace,
            instance=args.instance,
            scale=args.scale,
            container=names.SERVER,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
        )
        rolled_out = RollOut(
            f"{name}-roll-out",
            deployment=deployment,
            cluster=args.cluster,
            seconds=args.load_seconds,
            has_clients=True,
            scale=None if args.scaled_by_others else args.scale,
            autoscaler=names.labels(name, args.instance),
            # Of another scale: it would undo the number of pods that is waited for.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[autoscaler] if autoscaler else []),
        )
        ConfigMap(
            f"{name}-served",
            metadata=ObjectMetaArgs(
                name=names.SERVED,
                namespace=args.namespace,
                labels=names.labels(names.SERVED, args.instance),
            ),
            data=served.write(args.model_name, args.version),
            # Not before it is true.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rolled_out]),
        )
        exposed = Exposed(
            name,
            namespace=args.namespace,
            instance=args.instance,
            ports={"grpc": GRPC_PORT, "rest": REST_PORT, "page": PAGE_PORT},
            node_ports={"grpc": args.exposure.grpc_node_port},
            # REST has neither encryption nor a token of its own.
            targets={"rest": "page"} if args.access else None,
            protocols=_protocols(args),
            service_type=args.exposure.service_type,
            annotations=args.exposure.annotations,
            source_ranges=args.exposure.source_ranges,
            host=args.host,
            forced_host=args.exposure.host,
            ready=[rolled_out],
            opts=child,
        )
        self.host = exposed.host
        self.grpc_port = exposed.ports["grpc"]
        self.rest_url = exposed.url("rest")
        self.page_url = exposed.url("page")
        if args.exposure.is_routed:
            routes = Routes(
                name,
                namespace=args.namespace,
                instance=args.instance,
                exposure=args.exposure,
                tls_secret=args.edge_secret,
                grpc=GRPC_PORT,
                http=PAGE_PORT,
                opts=child,
            )
            self.host, self.grpc_port = routes.grpc_host, routes.port
            self.rest_url = self.page_url = routes.url
        self.register_outputs(
            {
                "host": self.host,
                "grpc_port": self.grpc_port,
                "rest_url": self.rest_url,
                "page_url": self.page_url,
            }
        )


def _deployment(
    name: str, args: PredictionServiceArgs, child: pulumi.ResourceOptions
) -> Deployment:
    labels = names.labels(name, args.instance)
    return Deployment(
        f"{name}-server",
        metadata=ObjectMetaArgs(
            name=name,
            namespace=args.namespace,
            labels=labels,
            # With a scale that comes back, so do its pods: `ignore_changes` hides their number.
            annotations=names.SKIP_AWAIT | {names.SCALE_ANNOTATION: str(args.scale)},
        ),
        spec=DeploymentSpecArgs(
            replicas=args.scale.least,
            progress_deadline_seconds=max(args.load_seconds - _DEADLINE_SECONDS, 1),
            strategy=DeploymentStrategyArgs(
                type="RollingUpdate",
                rolling_update=RollingUpdateDeploymentArgs(
                    max_unavailable=0 if args.surge else 1, max_surge=1 if args.surge else 0
                ),
            ),
            selector=LabelSelectorArgs(match_labels=names.selector(name, args.instance)),
            template=pod(labels, args),
        ),
        opts=pulumi.ResourceOptions.merge(
            child,
            # The plugin then sends the number that there is, or none where it is somebody else's.
            pulumi.ResourceOptions(
                ignore_changes=["spec.replicas"]
                if args.scale.most is not None or args.scaled_by_others
                else None
            ),
        ),
    )


def _protocols(args: PredictionServiceArgs) -> dict[str, str]:
    """Return what the Service's ports speak, by their names, where somebody has to know it."""
    if args.exposure.is_routed:
        # Else an Ingress or a Gateway asks in HTTP/1.1.
        return {"grpc": "kubernetes.io/h2c"}
    # What status reads the scheme of its addresses from.
    return {"rest": "https", "page": "https"} if encrypts(args.access) else {}
