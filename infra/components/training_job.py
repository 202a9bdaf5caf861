"""The training run: a Kubernetes Job whose pod template carries the run hash.

On several nodes it is an Indexed Job, whose pods find worker 0 by its name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_kubernetes.batch.v1 import (
    Job,
    JobSpecArgs,
    PodFailurePolicyArgs,
    PodFailurePolicyOnExitCodesRequirementArgs,
    PodFailurePolicyOnPodConditionsPatternArgs,
    PodFailurePolicyRuleArgs,
)
from pulumi_kubernetes.core.v1 import (
    ConfigMapVolumeSourceArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    ObjectFieldSelectorArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..cluster.clusters import Cluster
from ..cluster.flavour import Flavour
from ..cluster.jobs import EXIT_TERMINATED
from ..cluster.names import (
    ATTEMPT_ANNOTATION,
    COMMIT_ANNOTATION,
    DIGEST_ANNOTATION,
    RUN_HASH_ANNOTATION,
)
from ..cluster.pod_defaults import QUEUE_LABEL, PodDefaults
from ..resources.connection import Store
from ..resources.run_end import RunEnd
from ..run.attempts import Attempt, job_name
from ..run.run_hash import digest, short
from . import packages, pod_specs, scraping, worker_discovery
from .packages import Packages
from .scraping import Scraping

_JOB_NAME_LABEL = "batch.kubernetes.io/job-name"

_BOOT_PREFIX = "DLSTACK_BOOT_"
"""Of variables that are the boot file's alone: the agent takes it off (docs/contracts.md)."""

_SERVED = "/served"
"""Where the ConfigMap that says what serves is mounted. The kubelet keeps it up to date: a Job is
not replaced because another version serves by now."""
_SERVED_MOUNT = VolumeMountArgs(name="served", mount_path=_SERVED, read_only=True)
_SERVED_VOLUME = VolumeArgs(
    name="served",
    # Optional: nothing serves while a first run trains.
    config_map=ConfigMapVolumeSourceArgs(name=names.SERVED, optional=True),
)

_MAKES_IT = (__file__, pod_specs.__file__, scraping.__file__, worker_discovery.__file__)


@dataclass(frozen=True, kw_only=True)
class TrainingJobArgs:
    """What a training run is made of."""

    namespace: pulumi.Input[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    image: str
    packages: Packages
    """Have the agent."""
    store_environment: Sequence[EnvVarArgs]
    code_url: pulumi.Input[str]
    data_url: pulumi.Input[str]
    data_mode: str
    """`copy`, or `stream`: the boot file reads the data in the store."""
    store: Store
    """The one with the output bucket, as the dynamic resources reach it."""
    output_bucket: pulumi.Input[str]
    boot_file: str
    run_parameters: Mapping[str, str]
    env: Mapping[str, str]
    """Variables of the boot file."""
    secret_env: str | None
    """Name of the Secret with more of them."""
    executables: Sequence[str]
    """Paths of the code folder's programs."""
    run_hash: str
    model_name: str
    min_accuracy: float | None
    min_metrics: Mapping[str, float]
    max_metrics: Mapping[str, float]
    max_decrease: Mapping[str, float]
    """Metric -> by how much it may be below that of the version that serves."""
    max_increase: Mapping[str, float]
    """Metric -> by how much it may be above it."""
    provenance: Mapping[str, str | int]
    """Goes into the manifest. Made of nothing but what the run hash covers: anything else would
    replace the Job without another model to come of it."""
    sources: Mapping[str, Mapping[str, str]]
    """Part of the run -> path -> first digits of its checksum; goes into the manifest as well."""
    flavour: Flavour
    node_count: int
    timeout_seconds: int
    start_seconds: int | None
    """How long its pods may wait for a node; None: as long as the run may take."""
    join_seconds: int
    """How long the nodes of a run wait for each other."""
    grace_seconds: int
    retries: int
    attempt: Attempt
    digest: str
    """Of all that the Job is made of: with another one it is another attempt."""
    scraping: Scraping | None
    """How Prometheus finds the run's numbers; None: it shows none."""
    pods: PodDefaults
    """What all pods of the stack have."""
    queue: str | None
    """In which the Job waits until it may begin; None: in none."""
    cluster: Cluster

    def __post_init__(self) -> None:
        if len(self.run_hash) != 64:
            raise ValueError(f"run_hash {self.run_hash!r} does not have 64 digits")


def template_digest() -> str:
    """Return the digest of the modules that make a Job from its settings."""
    return digest([Path(file).read_text() for file in _MAKES_IT])


def command(args: TrainingJobArgs) -> list[pulumi.Input[str]]:
    """Return the agent's command line (docs/contracts.md)."""
    provenance = json.dumps(args.provenance, sort_keys=True)
    sources = json.dumps(args.sources, sort_keys=True)
    output_url = pulumi.Output.concat("s3://", args.output_bucket)
    flags: list[pulumi.Input[str]] = [
        pulumi.Output.concat("--code_url=", args.code_url),
        f"--boot_file={_literal(args.boot_file)}",
        pulumi.Output.concat("--data_url=", args.data_url).apply(_literal),
        pulumi.Output.concat("--train_url=", output_url, f"/runs/{short(args.run_hash)}"),
        pulumi.Output.concat("--model_url=", output_url, f"/models/{args.model_name}"),
        f"--run_hash={args.run_hash}",
        f"--attempt={args.attempt.number}",
        f"--provenance={_literal(provenance)}",
        f"--sources={_literal(sources)}",
        f"--checker={packages.FOLDER}",
        "--work_dir=/work",
        f"--grace_seconds={args.grace_seconds}",
        f"--timeout_seconds={args.timeout_seconds}",
    ]
    if args.flavour.disk_bytes is not None:
        flags.append(f"--disk_bytes={args.flavour.disk_bytes}")
    if args.data_mode != "copy":
        flags.append(f"--data_mode={args.data_mode}")
    if args.scraping:
        flags += args.scraping.flags
    if args.executables:
        flags.append(f"--executables={_literal(json.dumps(args.executables))}")
    if args.attempt.commit is not None:
        flags.append("--commit=$(GIT_COMMIT)")
    if args.node_count > 1:
        flags.append(f"--workers={args.node_count}")
        flags.append(f"--join_seconds={args.join_seconds}")
        flags.append(f"--chief=$(JOB_NAME)-0.{names.WORKERS}:{worker_discovery.PORT}")
    if args.min_accuracy is not None:
        flags.append(f"--min_accuracy={args.min_accuracy}")
    if _compares(args):
        flags.append(f"--served={_SERVED}")
    for flag, bars in (
        ("min_metric", args.min_metrics),
        ("max_metric", args.max_metrics),
        ("max_decrease", args.max_decrease),
        ("max_increase", args.max_increase),
    ):
        flags += [f"--{flag}={_literal(name)}:{value}" for name, value in sorted(bars.items())]
    parameters = [f"--{k}={_literal(v)}" for k, v in sorted(args.run_parameters.items())]
    return ["python3", "-m", "training", *flags, "--", *parameters]


def _compares(args: TrainingJobArgs) -> bool:
    """Say whether the agent has to know what serves when it is about to publish."""
    return bool(args.max_decrease or args.max_increase)


def _literal(text: str) -> str:
    """Return what Kubernetes, which puts variables in the place of `$(NAME)`, makes `text` of."""
    return text.replace("$", "$$")


def _environment(args: TrainingJobArgs) -> list[EnvVarArgs]:
    """Return the variables of the agent, those that the command line names among them."""
    fields = {}
    if args.attempt.commit is not None:
        fields["GIT_COMMIT"] = f"metadata.annotations['{COMMIT_ANNOTATION}']"
    if args.node_count > 1:
        # The Job's name is picked when it is made.
        fields["JOB_NAME"] = f"metadata.labels['{_JOB_NAME_LABEL}']"
    return [
        *args.store_environment,
        EnvVarArgs(name="TMPDIR", value="/work"),
        # What libraries take for the user's name where the image has none for the pod's number.
        *(EnvVarArgs(name=name, value="dlstack") for name in ("USER", "LOGNAME")),
        *(
            EnvVarArgs(name=_BOOT_PREFIX + name, value=_literal(value))
            for name, value in sorted(args.env.items())
        ),
        *(
            EnvVarArgs(
                name=name,
                value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path=path)),
            )
            for name, path in fields.items()
        ),
    ]


def _failure_policy(container: str) -> PodFailurePolicyArgs:
    """Return which ends of a pod don't count as failures: another pod starts at no charge.

    Everything else counts against `backoffLimit`. Rules that end a Job by themselves would give it
    a reason of failure that Pulumi does not know.
    """
    return PodFailurePolicyArgs(
        rules=[
            PodFailurePolicyRuleArgs(
                action="Ignore",
                on_exit_codes=PodFailurePolicyOnExitCodesRequirementArgs(
                    container_name=container, operator="In", values=[EXIT_TERMINATED]
                ),
            ),
            # Evicted, preempted, or on a node that is gone.
            PodFailurePolicyRuleArgs(
                action="Ignore",
                on_pod_conditions=[
                    PodFailurePolicyOnPodConditionsPatternArgs(
                        type="DisruptionTarget", status="True"
                    )
                ],
            ),
        ]
    )


class TrainingJob(pulumi.ComponentResource):
    """One training run. Another run hash is another Job."""

    job: Job
    end: RunEnd
    """There when the run has ended well."""

    def __init__(
        self, name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dlstack:training:TrainingJob", name, None, opts)
        labels = names.labels(name, args.instance)
        several = args.node_count > 1
        subdomain = None
        if several:
            subdomain = worker_discovery.declare(name, args.namespace, args.instance, self)
        annotations = {
            RUN_HASH_ANNOTATION: args.run_hash,
            ATTEMPT_ANNOTATION: str(args.attempt.number),
            **(args.scraping.annotations if args.scraping else {}),
        }
        if args.attempt.commit is not None:
            annotations[COMMIT_ANNOTATION] = args.attempt.commit
        self.job = Job(
            f"{name}-job",
            metadata=ObjectMetaArgs(
                # The same for the same attempt: one that is there already is taken over.
                name=job_name(args.run_hash, args.attempt),
                namespace=args.namespace,
                labels=labels | ({QUEUE_LABEL: args.queue} if args.queue else {}),
                annotations={**names.SKIP_AWAIT, DIGEST_ANNOTATION: args.digest},
            ),
            spec=JobSpecArgs(
                completion_mode="Indexed" if several else None,
                completions=args.node_count if several else None,
                parallelism=args.node_count if several else None,
                backoff_limit=args.retries,
                pod_failure_policy=_failure_policy(name),
                active_deadline_seconds=args.timeout_seconds,
                # No ttlSecondsAfterFinished: a Job that vanishes would be run again.
                template=pod_specs.template(
                    labels,
                    [
                        pod_specs.container(
                            name,
                            args.image,
                            command(args),
                            packages=args.packages,
                            env=_environment(args),
                            mounts=[
                                VolumeMountArgs(name="work", mount_path="/work"),
                                VolumeMountArgs(name="shm", mount_path="/dev/shm"),
                                *([_SERVED_MOUNT] if _compares(args) else []),
                            ],
                            ports=args.scraping.ports if args.scraping else None,
                            secrets={args.secret_env: _BOOT_PREFIX} if args.secret_env else None,
                            resources=pod_specs.flavoured(args.flavour),
                            proxied=True,
                        )
                    ],
                    volumes=[
                        args.packages.volume,
                        pod_specs.scratch("work", args.flavour),
                        pod_specs.shared_memory("shm", args.flavour),
                        *([_SERVED_VOLUME] if _compares(args) else []),
                    ],
                    annotations=annotations,
                    restart_policy="Never",
                    grace_seconds=args.grace_seconds,
                    pods=args.pods,
                    flavour=args.flavour,
                    subdomain=subdomain,
                    # The loss of a node is that of one worker.
                    spread=names.selector(name, args.instance) if several else None,
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.end = RunEnd(
            f"{name}-end",
            job=self.job,
            run=f"run {short(args.run_hash)}, attempt {args.attempt.number}",
            run_hash=args.run_hash,
            store=args.store,
            bucket=args.output_bucket,
            model_name=args.model_name,
            cluster=args.cluster,
            start_seconds=args.start_seconds,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"job": self.job.metadata.name})
