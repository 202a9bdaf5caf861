"""The prediction service: one published version of a model, over gRPC, REST and a web page.

The version is an argument of the pods' init container, so a new one is Kubernetes' own roll-out:
old pods serve until new ones are Ready, and they are Ready when their model is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    EnvVarArgs,
    GRPCActionArgs,
    HTTPGetActionArgs,
    ProbeArgs,
    TCPSocketActionArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from ..cluster import names
from ..cluster.flavour import Flavour
from ..resources.roll_out import RollOut
from ..settings.settings import LogFormat, ServiceType, ServingEngine
from . import pod_specs
from .access import (
    CERTIFICATE_FILE,
    KEY_FILE,
    SSL_CONFIG_FILE,
    TOKEN_FILE,
    Access,
)
from .exposure import Exposed
from .packages import Package

GRPC_PORT = 8500
REST_PORT = 8501
PAGE_PORT = 8080

TENSORFLOW_SERVING_IMAGE = "tensorflow/serving:2.19.1"

MAX_REQUEST_BYTES = 128 * 2**20
"""Of the embedded server, and of the gateway when it passes REST on."""

_MODELS = "/models"
_ROLL_OUT_SECONDS = 600
"""Pulling an image of some GB, fetching the model and loading it."""


@dataclass(frozen=True, kw_only=True)
class PredictionServiceArgs:
    """What is served, how, and where."""

    namespace: pulumi.Input[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    image: str
    """Image with Python, boto3 and TensorFlow."""
    package: Package
    """Model sync, the embedded server and the gateway."""
    engine: ServingEngine
    batching: bool = False
    store_environment: Sequence[EnvVarArgs]
    model_name: str
    model_url: pulumi.Input[str]
    """`s3://` URL below which the model's versions lie."""
    version: pulumi.Input[int]
    replicas: int
    log_format: LogFormat = "text"
    flavour: Flavour
    """Of the model server."""
    tensorboard_url: pulumi.Input[str]
    """Link on the web page."""
    service_type: ServiceType
    grpc_node_port: int | None = None
    host: str
    forced_host: str | None = None
    access: Access | None = None
    """None: the ports are plain."""
    kube_context: str = ""


def server_command(
    engine: ServingEngine, model_name: str, *, batching: bool = False, access: Access | None = None
) -> list[str]:
    """Return the command line of the model server; most flags are the same for both engines."""
    flags = [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_name={model_name}",
        f"--model_base_path={_MODELS}/{model_name}",
    ]
    if batching:
        flags.append("--enable_batching=true")
    if access is not None:
        flags.append(f"--ssl_config_file={SSL_CONFIG_FILE}")
    if engine == "tensorflow-serving":
        # Off by default there; its port opens when the model is loaded.
        return ["tensorflow_model_server", *flags, "--enable_grpc_healthcheck_service=true"]
    flags.append(f"--max_request_bytes={MAX_REQUEST_BYTES}")
    if access is not None:
        # REST has no encryption: the gateway in the same pod passes it on.
        flags.append("--rest_api_host=127.0.0.1")
        flags += [f"--token_file={TOKEN_FILE}"] if access.has_token else []
    return ["python3", "-m", "serving", *flags]


def gateway_flags(access: Access | None) -> list[str]:
    """Return the flags by which the gateway asks for what the ports ask for."""
    if access is None:
        return []
    return [
        f"--tls_cert={CERTIFICATE_FILE}",
        f"--tls_key={KEY_FILE}",
        *([f"--token_file={TOKEN_FILE}"] if access.has_token else []),
    ]


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
        labels = names.labels(name, args.instance)
        model_dir = f"{_MODELS}/{args.model_name}"
        models = VolumeMountArgs(name="models", mount_path=_MODELS)
        models_read_only = VolumeMountArgs(name="models", mount_path=_MODELS, read_only=True)
        access = args.access
        locks = [access.mount] if access else []
        logs = [] if args.log_format == "text" else [EnvVarArgs(name="LOG_FORMAT", value="json")]
        # The only process with the bucket's credentials; those that answer requests have none.
        sync = pod_specs.container(
            "sync",
            args.image,
            [
                *("python3", "-m", "serving.sync"),
                pulumi.Output.concat("--source_url=", args.model_url),
                pulumi.Output.concat("--model_version=", args.version.apply(str))
                if isinstance(args.version, pulumi.Output)
                else f"--model_version={args.version}",
                f"--target_dir={model_dir}",
            ],
            env=[*args.store_environment, *logs],
            mounts=[args.package.mount, models],
            resources=pod_specs.requests("50m", "128Mi", memory_limit="1Gi"),
        )
        server = pod_specs.container(
            "server",
            TENSORFLOW_SERVING_IMAGE if args.engine == "tensorflow-serving" else args.image,
            server_command(args.engine, args.model_name, batching=args.batching, access=access),
            env=logs,
            mounts=[args.package.mount, models_read_only, *locks],
            ports={"grpc": GRPC_PORT, "rest": REST_PORT},
            resources=pod_specs.flavoured(args.flavour),
            readiness=_probe(access, period_seconds=1, timeout_seconds=2),
            # Generous: loading a big model, or a machine that is short of cores, is no failure.
            liveness=_probe(
                access,
                initial_delay_seconds=60,
                period_seconds=10,
                timeout_seconds=5,
                failure_threshold=6,
            ),
        )
        gateway = pod_specs.container(
            "gateway",
            args.image,
            [
                *("python3", "-m", "serving.gateway"),
                f"--port={PAGE_PORT}",
                f"--model_name={args.model_name}",
                f"--rest_url=http://127.0.0.1:{REST_PORT}",
                f"--manifest_dir={model_dir}",
                pulumi.Output.concat("--tensorboard_url=", args.tensorboard_url),
                *gateway_flags(access),
            ],
            env=logs,
            mounts=[args.package.mount, models_read_only, *locks],
            ports={"page": PAGE_PORT},
            resources=pod_specs.requests("50m", "96Mi", memory_limit="512Mi"),
            readiness=ProbeArgs(
                http_get=HTTPGetActionArgs(
                    path="/healthz", port="page", scheme="HTTPS" if access else "HTTP"
                ),
                period_seconds=1,
            ),
        )
        deployment = Deployment(
            f"{name}-server",
            metadata=ObjectMetaArgs(name=name, namespace=args.namespace, labels=labels),
            spec=DeploymentSpecArgs(
                replicas=args.replicas,
                progress_deadline_seconds=_ROLL_OUT_SECONDS - 30,
                strategy=DeploymentStrategyArgs(
                    type="RollingUpdate",
                    rolling_update=RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
                ),
                selector=LabelSelectorArgs(match_labels=names.selector(name, args.instance)),
                template=pod_specs.template(
                    labels,
                    [server, gateway],
                    init_containers=[sync],
                    volumes=[
                        args.package.volume,
                        pod_specs.scratch("models"),
                        *([access.volume] if access else []),
                    ],
                    grace_seconds=5,
                    flavour=args.flavour,
                ),
            ),
            opts=pulumi.ResourceOptions.merge(
                child,
                pulumi.ResourceOptions(
                    custom_timeouts=pulumi.CustomTimeouts(
                        create=f"{_ROLL_OUT_SECONDS}s", update=f"{_ROLL_OUT_SECONDS}s"
                    )
                ),
            ),
        )
        RollOut(
            f"{name}-roll-out",
            deployment=deployment,
            context=args.kube_context,
            seconds=_ROLL_OUT_SECONDS,
            opts=child,
        )
        exposed = Exposed(
            name,
            namespace=args.namespace,
            instance=args.instance,
            ports={"grpc": GRPC_PORT, "rest": REST_PORT, "page": PAGE_PORT},
            node_ports={"grpc": args.grpc_node_port},
            # REST has neither encryption nor a token of its own.
            targets={"rest": "page"} if access else None,
            secure=access is not None,
            service_type=args.service_type,
            host=args.host,
            forced_host=args.forced_host,
            ready=[deployment],
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


def _probe(access: Access | None, **when: Any) -> ProbeArgs:
    """Return a probe of the gRPC port, which opens when the model is AVAILABLE."""
    if access is not None:
        # Kubernetes' gRPC probe speaks no TLS.
        return ProbeArgs(tcp_socket=TCPSocketActionArgs(port="grpc"), **when)
    return ProbeArgs(grpc=GRPCActionArgs(port=GRPC_PORT), **when)
