"""The stack's own object store: one SeaweedFS with its data on a volume, for stacks without one.

It goes with the stack, and so does its volume. One replica: who needs more sets `s3Endpoint`. It
is open to the cluster's pods only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs, DeploymentStrategyArgs
from pulumi_kubernetes.core.v1 import (
    EnvVarArgs,
    ExecActionArgs,
    HTTPGetActionArgs,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpecArgs,
    PersistentVolumeClaimVolumeSourceArgs,
    ProbeArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeResourceRequirementsArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from ..cluster import names
from ..cluster.clusters import Cluster
from ..cluster.pod_defaults import PodDefaults
from ..resources.roll_out import RollOut
from ..resources.volume_size import VolumeSize
from . import pod_specs
from .exposure import Exposed

PORT = 8333
METRICS_PORT = 9327
"""Listens on the pod's own loopback address only, as all but S3: see docs/operations.md."""
REGION = "us-east-1"

_COMMAND = (
    "weed",
    "-logtostderr=true",
    "server",
    "-dir=/data",
    # Master, filer and volume server know no credentials: they listen to each other only.
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.electionTimeout=1s",
    "-master.telemetry=false",
    # How many requests of which kind there were, and how long they took, for Prometheus.
    f"-metricsPort={METRICS_PORT}",
    # The disk's size divided by this is how many volumes there are.
    "-master.volumeSizeLimitMB=128",
    "-volume.max=0",
    "-volume.preStopSeconds=0",
    "-filer",
    "-s3",
    "-s3.ip.bind=0.0.0.0",
    f"-s3.port={PORT}",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.iam=false",
    # Both default to true; S3 itself does neither.
    "-s3.allowDeleteBucketNotEmpty=false",
    "-s3.autoCreateBucket=false",
)

_ONE_VOLUME_AT_A_TIME = EnvVarArgs(name="WEED_MASTER_VOLUME_GROWTH_COPY_1", value="1")
"""`copy_1` of SeaweedFS' `[master.volume_growth]`. A bucket has volumes of its own, and would get
seven at once: three buckets had no room on a disk of 2 GB."""

_HAS_VOLUMES = """
import json, urllib.request
with urllib.request.urlopen("http://127.0.0.1:9333/dir/status", timeout=4) as answer:
    assert json.load(answer)["Topology"]["DataCenters"]
"""
"""Asks the master, which listens in the pod only, whether the volume server is known to it."""


@dataclass(frozen=True, kw_only=True)
class ObjectStoreArgs:
    """What the in-stack object store needs to know."""

    namespace: pulumi.Input[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    image: str
    """Image with the program `weed`."""
    secret: str
    """Secret with the credentials of its only user."""
    after: Sequence[pulumi.Resource]
    """What has to be there before its pod: the Secret."""
    storage_size: str
    """Of the volume, as Kubernetes writes sizes."""
    storage_class: str | None
    """None: the cluster's default."""
    pods: PodDefaults
    """What all pods of the stack have."""
    cluster: Cluster


class ObjectStore(pulumi.ComponentResource):
    """An S3-compatible object store in the stack's namespace."""

    endpoint: pulumi.Output[str]
    """Its URL for pods."""
    ready_endpoint: pulumi.Output[str]
    """The same; known when the store is ready."""
    volume: pulumi.Output[str]
    """UID of the claim: another one is another, empty volume."""

    def __init__(
        self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dlstack:storage:ObjectStore", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = names.labels(name, args.instance)
        claim = PersistentVolumeClaim(
            f"{name}-data",
            metadata=ObjectMetaArgs(
                name=name,
                namespace=args.namespace,
                labels=labels,
                # A claim may be bound only when its pod is scheduled; awaiting it would never end.
                annotations=names.SKIP_AWAIT,
            ),
            spec=PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                storage_class_name=args.storage_class,
                resources=VolumeResourceRequirementsArgs(requests={"storage": args.storage_size}),
            ),
            # A claim with another spec would be another volume, and the models gone with the old.
            opts=pulumi.ResourceOptions.merge(
                child, pulumi.ResourceOptions(ignore_changes=["spec"])
            ),
        )
        grown = VolumeSize(
            f"{name}-size",
            cluster=args.cluster,
            namespace=args.namespace,
            claim=claim.metadata.name,
            size=args.storage_size,
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[claim])),
        )
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
                # Two processes must not write to one volume.
                strategy=DeploymentStrategyArgs(type="Recreate"),
                selector=LabelSelectorArgs(match_labels=names.selector(name, args.instance)),
                template=pod_specs.template(
                    labels,
                    [
                        pod_specs.container(
                            name,
                            args.image,
                            _COMMAND,
                            # The variables are its only user, as long as no other is configured.
                            env=[
                                *pod_specs.store_environment(None, REGION, args.secret),
                                _ONE_VOLUME_AT_A_TIME,
                            ],
                            mounts=[VolumeMountArgs(name="data", mount_path="/data")],
                            ports={names.OBJECT_STORE_PORT: PORT},
                            resources=pod_specs.requests("100m", "256Mi", memory_limit="2Gi"),
                            # S3 answers some seconds before a store that is started anew finds
                            # its volumes, and fails until then.
                            startup=ProbeArgs(
                                exec_=ExecActionArgs(command=["python3", "-c", _HAS_VOLUMES]),
                                period_seconds=1,
                                timeout_seconds=5,
                                failure_threshold=120,
                            ),
                            readiness=ProbeArgs(
                                http_get=HTTPGetActionArgs(
                                    path="/healthz", port=names.OBJECT_STORE_PORT
                                ),
                                period_seconds=1,
                                failure_threshold=3,
                            ),
                        )
                    ],
                    volumes=[
                        VolumeArgs(
                            name="data",
                            persistent_volume_claim=PersistentVolumeClaimVolumeSourceArgs(
                                claim_name=claim.metadata.name
                            ),
                        )
                    ],
                    # On SIGTERM it waits 15 s for its clients; what was written is in the kernel.
                    grace_seconds=2,
                    pods=args.pods,
                ),
            ),
            # The Secret's name is plain text, and says nothing of an order.
            opts=pulumi.ResourceOptions.merge(
                child, pulumi.ResourceOptions(depends_on=list(args.after))
            ),
        )
        rolled_out = RollOut(
            f"{name}-roll-out", deployment=deployment, cluster=args.cluster, opts=child
        )
        # This program has a way in of its own (`resources.connection`).
        exposed = Exposed(
            name,
            namespace=args.namespace,
            instance=args.instance,
            ports={names.OBJECT_STORE_PORT: PORT},
            opts=child,
        )
        self.endpoint = exposed.url(names.OBJECT_STORE_PORT)
        # What is about to be sent may need the room that the volume gets by this `up`.
        self.ready_endpoint = pulumi.Output.all(self.endpoint, rolled_out.id, grown.id).apply(
            lambda known: str(known[0])
        )
        self.volume = claim.metadata.apply(lambda metadata: str(metadata.uid or ""))
        self.register_outputs(
            {
                "endpoint": self.endpoint,
                "ready_endpoint": self.ready_endpoint,
                "volume": self.volume,
            }
        )
