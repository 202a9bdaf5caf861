"""Pure builders of pod templates: what every container of the stack has in common, in one place.

All pods fulfil the `restricted` Pod Security Standard, which the namespace enforces.
"""

from collections.abc import Iterable, Mapping, Sequence

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
    LocalObjectReferenceArgs,
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
    TopologySpreadConstraintArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from store.access import ACCESS_KEY, ENDPOINT, REGION, SECRET_KEY

from ..cluster import names
from ..cluster.flavour import Flavour, Taint, Toleration
from ..cluster.pod_defaults import PodDefaults
from .packages import Packages

_LINUX = {"kubernetes.io/os": "linux"}
"""Clusters may have nodes with Windows."""

_ANY_SIZE = "1Ti"
"""Of a volume that holds what nobody knows beforehand: more than a node has. Some clusters refuse a
volume on the node's disk that has no size."""
_SMALL = "2Gi"
"""Of what libraries put into their home and among temporary files, where no code of users runs."""

_LOST_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints that Kubernetes puts on a node that it has not heard of for 50 s."""

LOST_NODE_SECONDS = 10
"""How long a pod stays on such a node before another takes its place. Kubernetes' own default of
300 s would leave a stack without its store or its answers for that time."""

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
    endpoint: pulumi.Input[str] | None,
    region: str,
    secret: pulumi.Input[str],
    keys: Iterable[str] = (ACCESS_KEY, SECRET_KEY),
) -> list[EnvVarArgs]:
    """Return the variables by which a store is reached (docs/contracts.md).

    What `keys` names comes from the Secret, credentials among it, and is in no pod spec.
    """
    variables = [
        EnvVarArgs(
            name=key,
            value_from=EnvVarSourceArgs(
                secret_key_ref=SecretKeySelectorArgs(name=secret, key=key),
            ),
        )
        for key in keys
    ]
    variables.append(EnvVarArgs(name=REGION, value=region))
    if endpoint is not None:
        variables.append(EnvVarArgs(name=ENDPOINT, value=endpoint))
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
    pre_stop: Sequence[str] = (),
    proxied: bool = False,
    secrets: Mapping[str, str] | None = None,
) -> ContainerArgs:
    """Return a container that runs as nobody in particular and writes to its mounts only.

    With `proxied` it reaches the world through the proxy of `dlstack:proxy`, if that is set.

    `secrets` are names of Secrets -> what stands before the names of the variables that it gets
    from them.

    `pre_stop` is a command that runs in it before it gets SIGTERM: requests still come to a pod
    that is told to end, until all nodes know of it.
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
            *(
                [EnvFromSourceArgs(secret_ref=SecretEnvSourceArgs(name=names.PROXY, optional=True))]
                if proxied
                else []
            ),
            *(
                EnvFromSourceArgs(prefix=prefix, secret_ref=SecretEnvSourceArgs(name=secret))
                for secret, prefix in (secrets or {}).items()
            ),
        ]
        or None,
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
            pre_stop=LifecycleHandlerArgs(exec_=ExecActionArgs(command=list(pre_stop)))
        )
        if pre_stop
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
    pods: PodDefaults,
    restart_policy: str = "Always",
    annotations: Mapping[str, pulumi.Input[str]] | None = None,
    subdomain: pulumi.Input[str] | None = None,
    flavour: Flavour | None = None,
    spread: Mapping[str, str] | None = None,
) -> PodTemplateSpecArgs:
    """Return a pod template.

    Args:
        labels: of the pods.
        containers, init_containers, volumes: made by `container`, `scratch` and the like.
        grace_seconds: time from SIGTERM to SIGKILL.
        pods: what all pods of the stack have.
        restart_policy: as in Kubernetes.
        annotations: of the pods.
        subdomain: the headless Service in which they have names.
        flavour: which nodes it runs on, and how much disk it has there; None: the nodes of all.
        spread: labels of the pods that rather run on different nodes.
    """
    node_selector = flavour.node_selector if flavour else pods.node_selector
    tolerations = flavour.tolerations if flavour else pods.tolerations
    tmp = scratch("tmp", flavour) if flavour else _volume("tmp", _SMALL)
    return PodTemplateSpecArgs(
        metadata=ObjectMetaArgs(
            labels={**pods.labels, **labels},
            annotations={**pods.annotations, **(annotations or {})} or None,
        ),
        spec=PodSpecArgs(
            containers=list(containers),
            init_containers=list(init_containers) or None,
            volumes=[tmp, *volumes],
            restart_policy=restart_policy,
            termination_grace_period_seconds=grace_seconds,
            automount_service_account_token=False,
            # Named in any case: Kubernetes keeps one that was named before in a field of its own,
            # which brings it back where none is named.
            service_account_name=pods.service_account or "default",
            image_pull_secrets=[
                LocalObjectReferenceArgs(name=name) for name in pods.image_pull_secrets
            ]
            or None,
            priority_class_name=pods.priority_class,
            enable_service_links=False,
            node_selector={**_LINUX, **node_selector},
            tolerations=[
                TolerationArgs(
                    key=one.key,
                    operator=one.operator,
                    value=one.value,
                    effect=one.effect,
                    toleration_seconds=one.seconds,
                )
                for one in _and_of_lost_nodes(tolerations)
            ],
            topology_spread_constraints=_apart(spread) if spread else None,
            subdomain=subdomain,
            security_context=PodSecurityContextArgs(
                run_as_non_root=True,
                run_as_user=pods.user,
                run_as_group=pods.user,
                fs_group=pods.user,
                # Else every file of a big volume is visited at each start.
                fs_group_change_policy="OnRootMismatch",
                seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
            ),
        ),
    )


def _and_of_lost_nodes(given: Sequence[Toleration]) -> list[Toleration]:
    """Return the tolerations of pods, and for how long they bear a node that is lost."""
    lost = [Taint(key=key, value="", effect="NoExecute") for key in _LOST_NODE]
    return [*given] + [
        Toleration(key=taint.key, operator="Exists", effect=taint.effect, seconds=LOST_NODE_SECONDS)
        for taint in lost
        # Who says so may have them bear it longer.
        if not any(one.covers(taint) for one in given)
    ]


def _apart(labels: Mapping[str, str]) -> list[TopologySpreadConstraintArgs]:
    """Return the wish that pods of one template are on different nodes.

    Not in different zones as well: where nodes have no label for one, Kubernetes heeds neither.
    """
    return [
        TopologySpreadConstraintArgs(
            max_skew=1,
            topology_key="kubernetes.io/hostname",
            # On one node rather than not at all.
            when_unsatisfiable="ScheduleAnyway",
            label_selector=LabelSelectorArgs(match_labels=dict(labels)),
            # Else old pods of a Deployment, which are about to go, would say where new ones go.
            match_label_keys=["pod-template-hash"],
        )
    ]


def shared_memory(name: str, flavour: Flavour) -> VolumeArgs:
    """Return a volume for /dev/shm, of which containers have 64 MiB: too little for most loaders.

    What lies there counts as the container's memory, which bounds it, too.
    """
    size = flavour.limits.get("memory")
    return VolumeArgs(
        name=name, empty_dir=EmptyDirVolumeSourceArgs(medium="Memory", size_limit=size)
    )


def scratch(name: str, flavour: Flavour | None = None) -> VolumeArgs:
    """Return an empty volume on the node's disk, as big as the flavour's share of that."""
    return _volume(name, (flavour.disk if flavour else None) or _ANY_SIZE)


def _volume(name: str, size: str) -> VolumeArgs:
    return VolumeArgs(name=name, empty_dir=EmptyDirVolumeSourceArgs(size_limit=size))
