"""Pure builders of pod templates: what every container of the stack has in common, in one place.

All pods fulfil the `restricted` Pod Security Standard, which the namespace enforces.
"""

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.core.v1 import (
    CapabilitiesArgs,
    ContainerArgs,
    ContainerPortArgs,
    EmptyDirVolumeSourceArgs,
    EnvFromSourceArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    ExecActionArgs,
    LifecycleArgs,
    LifecycleHandlerArgs,
    PodSecurityContextArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    ResourceRequirementsArgs,
    SeccompProfileArgs,
    SecretEnvSourceArgs,
    SecretKeySelectorArgs,
    SecurityContextArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..cluster.flavour import Flavour
from ..resources.connection import ACCESS_KEY, SECRET_KEY
from .packages import Packages

USER = 65532
"""User and group of every process; no file of the images belongs to them."""

_TMP = VolumeMountArgs(name="tmp", mount_path="/tmp")
"""Root file systems are read-only, and TensorFlow and Python want a place for temporary files."""


def requests(cpu: str, memory: str, *, memory_limit: str) -> ResourceRequirementsArgs:
    """Return the resources of a helper process."""
    return ResourceRequirementsArgs(
        requests={"cpu": cpu, "memory": memory}, limits={"memory": memory_limit}
    )


def flavoured(flavour: Flavour) -> ResourceRequirementsArgs:
    """Return the resources of a process that a flavour was chosen for."""
    return ResourceRequirementsArgs(requests=flavour.requests, limits=flavour.limits)


def store_environment(
    endpoint: pulumi.Input[str] | None, region: str, secret: pulumi.Input[str]
) -> list[EnvVarArgs]:
    """Return boto3's own variables; credentials come from the Secret and are in no pod spec."""
    variables = [
        EnvVarArgs(
            name=key,
            value_from=EnvVarSourceArgs(
                secret_key_ref=SecretKeySelectorArgs(name=secret, key=key),
            ),
        )
        for key in (ACCESS_KEY, SECRET_KEY)
    ]
    variables.append(EnvVarArgs(name="AWS_REGION", value=region))
    if endpoint is not None:
        variables.append(EnvVarArgs(name="AWS_ENDPOINT_URL_S3", value=endpoint))
    return variables


def container(
    name: str,
    image: str,
    command: Sequence[pulumi.Input[str]],
    *,
    resources: ResourceRequirementsArgs,
    packages: Packages | None = None,
    env: Sequence[EnvVarArgs] = (),
    mounts: Sequence[VolumeMountArgs] = (),
    ports: Mapping[str, int] | None = None,
    startup: ProbeArgs | None = None,
    readiness: ProbeArgs | None = None,
    liveness: ProbeArgs | None = None,
    pause_seconds: int = 0,
    proxied: bool = False,
) -> ContainerArgs:
    """Return a container that runs as nobody in particular and writes to its mounts only.

    With `proxied` it reaches the world through the proxy of `dlstack:proxy`, if that is set.

    With `pause_seconds` it gets SIGTERM that much later: requests still come to a pod that is told
    to end, until all nodes know of it.
    """
    return ContainerArgs(
        name=name,
        image=image,
        image_pull_policy="IfNotPresent",
        command=list(command),
        env=[
            *([packages.environment] if packages else []),
            EnvVarArgs(name="PYTHONDONTWRITEBYTECODE", value="1"),
            EnvVarArgs(name="PYTHONUNBUFFERED", value="1"),
            # Libraries that look for a home find one they can write to.
            EnvVarArgs(name="HOME", value="/tmp"),
            *env,
        ],
        env_from=[
            EnvFromSourceArgs(secret_ref=SecretEnvSourceArgs(name=names.PROXY, optional=True))
        ]
        if proxied
        else None,
        ports=[
            ContainerPortArgs(name=port, container_port=number)
            for port, number in (ports or {}).items()
        ],
        resources=resources,
        volume_mounts=[_TMP, *([packages.mount] if packages else []), *mounts],
        startup_probe=startup,
        readiness_probe=readiness,
        liveness_probe=liveness,
        lifecycle=LifecycleArgs(
            pre_stop=LifecycleHandlerArgs(
                exec_=ExecActionArgs(command=["sleep", str(pause_seconds)])
            )
        )
        if pause_seconds
        else None,
        # The last log lines become the message that `pulumi up` shows for a container that fails.
        termination_message_policy="FallbackToLogsOnError",
        security_context=SecurityContextArgs(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=CapabilitiesArgs(drop=["ALL"]),
        ),
    )


def template(
    labels: Mapping[str, str],
    containers: Sequence[ContainerArgs],
    *,
    init_containers: Sequence[ContainerArgs] = (),
    volumes: Sequence[VolumeArgs] = (),
    grace_seconds: int,
    restart_policy: str = "Always",
    annotations: Mapping[str, pulumi.Input[str]] | None = None,
    subdomain: pulumi.Input[str] | None = None,
    flavour: Flavour | None = None,
) -> PodTemplateSpecArgs:
    """Return a pod template.

    Args:
        labels: of the pods.
        containers, init_containers, volumes: made by `container`, `scratch` and the like.
        grace_seconds: time from SIGTERM to SIGKILL.
        restart_policy: as in Kubernetes.
        annotations: of the pods.
        subdomain: the headless Service in which they have names.
        flavour: which nodes it runs on.
    """
    return PodTemplateSpecArgs(
        metadata=ObjectMetaArgs(labels=dict(labels), annotations=annotations),
        spec=PodSpecArgs(
            containers=list(containers),
            init_containers=list(init_containers) or None,
            volumes=[scratch("tmp"), *volumes],
            restart_policy=restart_policy,
            termination_grace_period_seconds=grace_seconds,
            automount_service_account_token=False,
            enable_service_links=False,
            node_selector=dict(flavour.node_selector) or None if flavour else None,
            tolerations=[
                TolerationArgs(
                    key=one.key,
                    operator=one.operator,
                    value=one.value,
                    effect=one.effect,
                    toleration_seconds=one.seconds,
                )
                for one in flavour.tolerations
            ]
            or None
            if flavour
            else None,
            subdomain=subdomain,
            security_context=PodSecurityContextArgs(
                run_as_non_root=True,
                run_as_user=USER,
                run_as_group=USER,
                fs_group=USER,
                # Else every file of a big volume is visited at each start.
                fs_group_change_policy="OnRootMismatch",
                seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
            ),
        ),
    )


def scratch(name: str) -> VolumeArgs:
    """Return an empty volume that goes with its pod."""
    return VolumeArgs(name=name, empty_dir=EmptyDirVolumeSourceArgs())
