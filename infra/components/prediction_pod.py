"""The pods of a prediction service: the model's copy, its server, and the gateway before it."""

from typing import Any

from pulumi_kubernetes.core.v1 import (
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EnvVarArgs,
    GRPCActionArgs,
    HTTPGetActionArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    TCPSocketActionArgs,
    VolumeArgs,
    VolumeMountArgs,
)

from ..cluster import names
from . import pod_specs
from . import prediction_commands as commands
from .access import Access
from .prediction_args import PredictionServiceArgs
from .prediction_commands import GRPC_PORT, MODELS, PAGE_PORT, REST_PORT

TENSORFLOW_SERVING_IMAGE = "tensorflow/serving:2.19.1"

_SPARE_SECONDS = 10
"""To start and end the processes themselves, before a pod that is to end is killed."""

_PATIENCE: dict[str, Any] = {"timeout_seconds": 5, "failure_threshold": 6}
"""Of probes: a pod that is slow under load answers yet, and where one is taken out the others get
its load. A container that has ended is out at once."""

_MODELS_MOUNT = VolumeMountArgs(name="models", mount_path=MODELS)
_MONITORING_MOUNT = VolumeMountArgs(
    name="monitoring", mount_path=commands.MONITORING_FOLDER, read_only=True
)
_MONITORING_VOLUME = VolumeArgs(
    name="monitoring", config_map=ConfigMapVolumeSourceArgs(name=names.MONITOR)
)
_MODELS_READ_ONLY = VolumeMountArgs(name="models", mount_path=MODELS, read_only=True)


def pod(labels: dict[str, str], args: PredictionServiceArgs) -> PodTemplateSpecArgs:
    """Return what the Deployment makes pods of."""
    access_volume = [args.access.volume] if args.access and args.access.volume else []
    return pod_specs.template(
        labels,
        [_server(args), _gateway(args)],
        init_containers=[_sync(args), *([_check(args)] if args.checked else [])],
        volumes=[
            args.packages.volume,
            pod_specs.scratch("models", args.flavour),
            *access_volume,
            *([_MONITORING_VOLUME] if args.scraping else []),
        ],
        annotations=args.scraping.annotations if args.scraping else None,
        # The gateway's requests, then the server's own.
        grace_seconds=args.pause_seconds + 2 * args.drain_seconds + _SPARE_SECONDS,
        pods=args.pods,
        flavour=args.flavour,
        spread=labels,
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


def _check(args: PredictionServiceArgs) -> ContainerArgs:
    return pod_specs.container(
        "check",
        args.image,
        commands.check(args.engine, args.model_name, args.version, op_libraries=args.op_libraries),
        packages=args.packages,
        mounts=[_MODELS_READ_ONLY],
        resources=pod_specs.flavoured(args.flavour),
    )


def _server(args: PredictionServiceArgs) -> ContainerArgs:
    return pod_specs.container(
        names.SERVER,
        TENSORFLOW_SERVING_IMAGE if args.engine == "tensorflow-serving" else args.image,
        commands.server(
            args.engine,
            args.model_name,
            batching=args.batching,
            cors=args.cors,
            op_libraries=args.op_libraries,
            access=args.access,
            drain_seconds=args.drain_seconds,
            monitored=args.scraping is not None,
        ),
        env=_log_format(args),
        packages=args.packages,
        mounts=[
            _MODELS_READ_ONLY,
            *_access_mount(args),
            *([_MONITORING_MOUNT] if args.scraping else []),
        ],
        ports={"grpc": GRPC_PORT, "rest": REST_PORT},
        pre_stop=commands.before_server_ends(
            args.engine, pause_seconds=args.pause_seconds, drain_seconds=args.drain_seconds
        ),
        resources=pod_specs.flavoured(args.flavour),
        # Whatever a big model takes to load, it is started anew only when that is hopeless.
        startup=_grpc_probe(
            args.access,
            period_seconds=1,
            timeout_seconds=2,
            failure_threshold=args.load_seconds,
        ),
        readiness=_grpc_probe(args.access, period_seconds=1, **_PATIENCE),
        # Generous: a machine that is short of cores is no failure.
        liveness=_grpc_probe(args.access, period_seconds=10, **_PATIENCE),
    )


def _gateway(args: PredictionServiceArgs) -> ContainerArgs:
    return pod_specs.container(
        "gateway",
        args.image,
        commands.gateway(
            args.model_name,
            args.tensorboard_url,
            cors=args.cors,
            access=args.access,
            drain_seconds=args.drain_seconds,
            scraping=args.scraping,
        ),
        env=_log_format(args),
        packages=args.packages,
        mounts=[_MODELS_READ_ONLY, *_access_mount(args)],
        ports={"page": PAGE_PORT, **(args.scraping.ports if args.scraping else {})},
        pre_stop=["sleep", str(args.pause_seconds)],
        resources=pod_specs.requests("50m", "96Mi", memory_limit="512Mi"),
        readiness=ProbeArgs(
            http_get=HTTPGetActionArgs(
                path="/healthz", port="page", scheme="HTTPS" if encrypts(args.access) else "HTTP"
            ),
            period_seconds=1,
            **_PATIENCE,
        ),
    )


def _grpc_probe(access: Access | None, **when: Any) -> ProbeArgs:
    """Return a probe of the gRPC port, which opens when the model is AVAILABLE."""
    if encrypts(access):
        # Kubernetes' gRPC probe speaks no TLS.
        return ProbeArgs(tcp_socket=TCPSocketActionArgs(port="grpc"), **when)
    return ProbeArgs(grpc=GRPCActionArgs(port=GRPC_PORT), **when)


def encrypts(access: Access | None) -> bool:
    """Whether the ports speak TLS."""
    return access is not None and access.encrypts


def _log_format(args: PredictionServiceArgs) -> list[EnvVarArgs]:
    # Texts are what the processes write by themselves.
    return [] if args.log_format == "text" else [EnvVarArgs(name="LOG_FORMAT", value="json")]


def _access_mount(args: PredictionServiceArgs) -> list[VolumeMountArgs]:
    return [args.access.mount] if args.access else []
