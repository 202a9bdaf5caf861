"""The training run: a Kubernetes Job whose pod template carries the run hash."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.batch.v1 import Job, JobSpecArgs
from pulumi_kubernetes.core.v1 import EnvVarArgs, VolumeMountArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from . import names, pod_specs
from .flavours import Flavour
from .names import ATTEMPT_ANNOTATION, RUN_HASH_ANNOTATION
from .packages import Package

_START_SECONDS = 120
"""What scheduling and pulling the image may add to the timeout before Pulumi gives up waiting."""


@dataclass(frozen=True, kw_only=True)
class TrainingJobArgs:
    """What a training run is made of."""

    namespace: pulumi.Input[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    image: str
    package: Package
    """The agent."""
    store_environment: Sequence[EnvVarArgs]
    code_url: pulumi.Input[str]
    data_url: pulumi.Input[str]
    output_url: pulumi.Input[str]
    """`s3://` URL of the output bucket."""
    boot_file: str
    run_parameters: Mapping[str, str]
    run_hash: str
    model_name: str
    min_accuracy: float | None = None
    provenance: Mapping[str, str | int]
    """Goes into the manifest. Made of nothing but what the run hash covers: anything else, as
    the commit, would replace the Job without another model to come of it."""
    flavour: Flavour
    timeout_seconds: int
    attempt: int = 1
    """From `next_attempt`."""

    def __post_init__(self) -> None:
        if len(self.run_hash) != 64:
            raise ValueError(f"run_hash {self.run_hash!r} has not 64 digits")


def next_attempt(jobs: Iterable[Mapping[str, Any]], run_hash: str) -> int:
    """Return the number of the attempt at a run, given the Jobs that there are.

    It rises when the last one failed, so that the next `pulumi up` tries again what failed for a
    passing reason. (`pulumi.com/replaceUnready` would do so too, but old plugins don't know it, and
    it would also replace a Job that went well after an interrupted `pulumi up`.)
    """
    attempt = 1
    for job in jobs:
        annotations = job["spec"]["template"]["metadata"].get("annotations", {})
        if annotations.get(RUN_HASH_ANNOTATION) != run_hash:
            continue
        conditions = job.get("status", {}).get("conditions", [])
        failed = any(c["type"] == "Failed" and c["status"] == "True" for c in conditions)
        attempt = max(attempt, int(annotations.get(ATTEMPT_ANNOTATION, "1")) + failed)
    return attempt


def is_there(jobs: Iterable[Mapping[str, Any]], run_hash: str, attempt: int) -> bool:
    """Say whether one of `jobs` is this attempt at the run, so that no new Job will be made."""
    wanted = {RUN_HASH_ANNOTATION: run_hash, ATTEMPT_ANNOTATION: str(attempt)}
    return any(
        wanted.items() <= job["spec"]["template"]["metadata"].get("annotations", {}).items()
        for job in jobs
    )


def command(args: TrainingJobArgs) -> list[pulumi.Input[str]]:
    """Return the agent's command line (docs/contracts.md)."""
    flags: list[pulumi.Input[str]] = [
        pulumi.Output.concat("--code_url=", args.code_url),
        f"--boot_file={args.boot_file}",
        pulumi.Output.concat("--data_url=", args.data_url),
        pulumi.Output.concat("--train_url=", args.output_url, f"/runs/{args.run_hash[:12]}"),
        pulumi.Output.concat("--model_url=", args.output_url, f"/models/{args.model_name}"),
        f"--run_hash={args.run_hash}",
        f"--provenance={json.dumps(args.provenance, sort_keys=True)}",
        "--work_dir=/work",
    ]
    if args.min_accuracy is not None:
        flags.append(f"--min_accuracy={args.min_accuracy}")
    parameters = [f"--{key}={value}" for key, value in sorted(args.run_parameters.items())]
    return ["python3", "-m", "training", *flags, "--", *parameters]


class TrainingJob(pulumi.ComponentResource):
    """One training run. Another run hash is another Job."""

    job: Job

    def __init__(
        self, name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dlstack:training:TrainingJob", name, None, opts)
        labels = names.labels(name, args.instance)
        awaited = f"{args.timeout_seconds + _START_SECONDS}s"
        self.job = Job(
            f"{name}-job",
            # No fixed name: the next run's Job is made before this one goes.
            metadata=ObjectMetaArgs(
                namespace=args.namespace,
                labels=labels,
            ),
            spec=JobSpecArgs(
                backoff_limit=0,
                active_deadline_seconds=args.timeout_seconds,
                # No ttlSecondsAfterFinished: a Job that vanishes would be run again.
                template=pod_specs.template(
                    labels,
                    [
                        pod_specs.container(
                            name,
                            args.image,
                            command(args),
                            env=[
                                *args.store_environment,
                                EnvVarArgs(name="TMPDIR", value="/work"),
                            ],
                            mounts=[
                                args.package.mount,
                                VolumeMountArgs(name="work", mount_path="/work"),
                            ],
                            resources=pod_specs.flavoured(args.flavour),
                        )
                    ],
                    volumes=[args.package.volume, pod_specs.scratch("work")],
                    annotations={
                        RUN_HASH_ANNOTATION: args.run_hash,
                        ATTEMPT_ANNOTATION: str(args.attempt),
                    },
                    restart_policy="Never",
                    grace_seconds=5,
                    gpu_resource=args.flavour.gpu_resource if args.flavour.gpus else None,
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                custom_timeouts=pulumi.CustomTimeouts(create=awaited, update=awaited),
            ),
        )
        self.register_outputs({"job": self.job.metadata.name})
