"""The prediction service: one published version of a model, over gRPC, REST and a web page.

The version is an argument of the pods' init container, so a new one is Kubernetes' own roll-out:
old pods serve until new ones are Ready, and they are Ready when their model is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EnvVarArgs,
    GRPCActionArgs,
    HTTPGetActionArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    TCPSocketActionArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from ..cluster import names
from ..cluster.clusters import Cluster
from ..cluster.flavour import Flavour
from ..resources import roll_out
from ..resources.roll_out import RollOut
from . import pod_specs
from . import prediction_commands as commands
from .access import Access
from .exposure import Exposed, ServiceType
from .packages import Packages
from .prediction_commands import GRPC_PORT, MODELS, PAGE_PORT, REST_PORT, ServingEngine

LogFormat = Literal["text", "json"]

TENSORFLOW_SERVING_IMAGE = "tensorflow/serving:2.19.1"

_PAUSE_SECONDS = 3
"""What all nodes may take to send no more requests to a pod that is told to end."""

_MODELS_MOUNT = VolumeMountArgs(name="models", mount_path=MODELS)
_MODELS_READ_ONLY = VolumeMountArgs(name="models", mount_path=MODELS, read_only=True)


@dataclass(frozen=True, kw_only=True)
class PredictionServiceArgs:
    """What is served, how, and where."""

    namespace: pulumi.Input[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    image: str
    """Image with Python, boto3 and TensorFlow."""
    packages: Packages
    """Have the model sync, the embedded server and the gateway."""
    engine: ServingEngine
    batching: bool
    """Whether requests that wait at the same time run as one."""
    cors: bool
    """Whether web pages of any origin may ask over REST."""
    op_libraries: Sequence[str]
    """Paths in the image, of libraries with operations that TensorFlow does not have."""
    store_environment: Sequence[EnvVarArgs]
    model_name: str
    model_url: pulumi.Input[str]
    """`s3://` URL below which the model's versions lie."""
    version: pulumi.Input[int]
    replicas: int
    log_format: LogFormat
    flavour: Flavour
    """Of the model server."""
    tensorboard_url: pulumi.Input[str]
    """Link on the web page."""
    service_type: ServiceType
    grpc_node_port: int | None
    """None: the cluster picks one."""
    host: str
    """Address of a node."""
    forced_host: str | None
    """Address that the user set, whatever the type."""
    access: Access | None
    """None: the ports are plain."""
    cluster: Cluster


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
        deployment = _deployment(name, args, child)
        rolled_out = RollOut(
            f"{name}-roll-out", deployment=deployment, cluster=args.cluster, opts=child
        )
        exposed = Exposed(
            name,
            namespace=args.namespace,
            instance=args.instance,
            ports={"grpc": GRPC_PORT, "rest": REST_PORT, "page": PAGE_PORT},
            node_ports={"grpc": args.grpc_node_port},
            # REST has neither encryption nor a token of its own.
            targets={"rest": "page"} if args.access else None,
            secure=args.access is not None,
            service_type=args.service_type,
            host=args.host,
            forced_host=args.forced_host,
            ready=[rolled_out],
            opts=child,
        )
        self.host = exposed.host
        self.grpc_port = exposed.ports["grpc"]
        self.rest_url = exposed.url("rest")
        self.page_url = exposed.url("page")
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
            name=name, namespace=args.namespace, labels=labels, annotations=names.SKIP_AWAIT
        ),
        spec=DeploymentSpecArgs(
            replicas=args.replicas,
            progress_deadline_seconds=roll_out.SECONDS - 30,
            strategy=DeploymentStrategyArgs(
                type="RollingUpdate",
                rolling_update=RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
            ),
            selector=LabelSelectorArgs(match_labels=names.selector(name, args.instance)),
            template=_pod(labels, args),
        ),
        opts=child,
    )


def _pod(labels: dict[str, str], args: PredictionServiceArgs) -> PodTemplateSpecArgs:
    access_volume = [args.access.volume] if args.access else []
    return pod_specs.template(
        labels,
        [_server(args), _gateway(args)],
        init_containers=[_sync(args)],
        volumes=[args.packages.volume, pod_specs.scratch("models"), *access_volume],
        grace_seconds=_PAUSE_SECONDS + 5,
        flavour=args.flavour,
    )


def _sync(args: PredictionServiceArgs) -> ContainerArgs:
    """Return the only process with the bucket's credentials: those that answer have none."""
    return pod_specs.container(
        "sync",
        args.image,
        commands.sync(args.model_name, args.model_url, args.version),
        env=[*args.store_environment, *_log_format(args)],
        packages=args.packages,
        mounts=[_MODELS_MOUNT],
        resources=pod_specs.requests("50m", "128Mi", memory_limit="1Gi"),
        proxied=True,
    )


def _server(args: PredictionServiceArgs) -> ContainerArgs:
    return pod_specs.container(
        "server",
        TENSORFLOW_SERVING_IMAGE if args.engine == "tensorflow-serving" else args.image,
        commands.server(
            args.engine,
            args.model_name,
            batching=args.batching,
            cors=args.cors,
            op_libraries=args.op_libraries,
            access=args.access,
        ),
        env=_log_format(args),
        packages=args.packages,
        mounts=[_MODELS_READ_ONLY, *_access_mount(args)],
        ports={"grpc": GRPC_PORT, "rest": REST_PORT},
        pause_seconds=_PAUSE_SECONDS,
        resources=pod_specs.flavoured(args.flavour),
        readiness=_grpc_probe(args.access, period_seconds=1, timeout_seconds=2),
        # Generous: loading a big model, or a machine that is short of cores, is no failure.
        liveness=_grpc_probe(
            args.access,
            initial_delay_seconds=60,
            period_seconds=10,
            timeout_seconds=5,
            failure_threshold=6,
        ),
    )


def _gateway(args: PredictionServiceArgs) -> ContainerArgs:
    return pod_specs.container(
        "gateway",
        args.image,
        commands.gateway(args.model_name, args.tensorboard_url, cors=args.cors, access=args.access),
        env=_log_format(args),
        packages=args.packages,
        mounts=[_MODELS_READ_ONLY, *_access_mount(args)],
        ports={"page": PAGE_PORT},
        pause_seconds=_PAUSE_SECONDS,
        resources=pod_specs.requests("50m", "96Mi", memory_limit="512Mi"),
        readiness=ProbeArgs(
            http_get=HTTPGetActionArgs(
                path="/healthz", port="page", scheme="HTTPS" if args.access else "HTTP"
            ),
            period_seconds=1,
        ),
    )


def _grpc_probe(access: Access | None, **when: Any) -> ProbeArgs:
    """Return a probe of the gRPC port, which opens when the model is AVAILABLE."""
    if access is not None:
        # Kubernetes' gRPC probe speaks no TLS.
        return ProbeArgs(tcp_socket=TCPSocketActionArgs(port="grpc"), **when)
    return ProbeArgs(grpc=GRPCActionArgs(port=GRPC_PORT), **when)


def _log_format(args: PredictionServiceArgs) -> list[EnvVarArgs]:
    # Texts are what the processes write by themselves.
    return [] if args.log_format == "text" else [EnvVarArgs(name="LOG_FORMAT", value="json")]


def _access_mount(args: PredictionServiceArgs) -> list[VolumeMountArgs]:
    return [args.access.mount] if args.access else []
