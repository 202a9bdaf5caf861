"""One stack's configuration, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from store.access import Access

from ..cluster.exposure import Exposure, ServiceType
from ..cluster.flavour import Flavour
from ..cluster.pod_defaults import PodDefaults
from ..cluster.scale import Scale
from .access import AccessSettings
from .proxy import Proxy

ServingEngine = Literal["embedded", "tensorflow-serving"]
LogFormat = Literal["text", "json"]
DataMode = Literal["copy", "stream"]
"""Whether a training pod copies the data set, or the boot file reads it in the store."""
Metrics = Literal["auto", "podMonitor", "annotations", "off"]
"""`auto`: by a PodMonitor where the cluster knows that kind, else by annotations."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stack's configuration, checked."""

    stack: str
    """`<project>-<stack>`: the mark on the namespace, and the default of names."""
    runtime_image: str
    """Image with Python, TensorFlow, boto3 and SeaweedFS: runs everything but the training."""
    data_dir: str
    """Local folder, or `s3://bucket/prefix` in the configured object store; may be empty where
    nothing is trained."""
    data_mode: DataMode
    namespace: str
    creates_namespace: bool
    """Whether the namespace is the stack's own; else an administrator has made it."""
    image: str
    """Training image; the runtime image unless set."""
    code_dir: Path
    boot_file: str
    run_parameters: Mapping[str, str]
    env: Mapping[str, str]
    """Variables of the boot file's environment."""
    secret_env: Mapping[str, str] = field(repr=False)
    """The same, whose values nobody may read."""
    flavour: Flavour
    node_count: int
    timeout_seconds: int
    """A Job that runs longer fails."""
    start_seconds: int | None
    """How long a Job's pods may wait for a node; None: as long as it may take in all."""
    join_seconds: int
    """How long the workers of a run wait until all of them are there."""
    grace_seconds: int
    """From SIGTERM to SIGKILL: what a boot file has to save, and the agent to upload it."""
    retries: int
    """How often a Job starts anew what failed by itself."""
    min_accuracy: float | None
    """A model with less is not published."""
    min_metrics: Mapping[str, float]
    """Metric -> the least that it may be for the model to be published."""
    max_metrics: Mapping[str, float]
    """Metric -> the most that it may be."""
    max_decrease: Mapping[str, float]
    """Metric of which more is better -> by how much it may be below that of what serves."""
    max_increase: Mapping[str, float]
    """Metric of which less is better -> by how much it may be above that of what serves."""
    model_name: str
    model: str | None
    """A model from elsewhere that is served in place of one that is trained: `s3://` URL, folder,
    or `stack:NAME[/VERSION]`."""
    model_version: int | None
    """Serve this published version in place of the one that the present code and data make."""
    keep_versions: int | None
    """So many of the newest versions stay when another one serves; None: all do."""
    deploys: bool
    """Whether what is published is served; else what serves now goes on to."""
    serving_engine: ServingEngine
    serving_scale: Scale
    """Pods of the prediction service."""
    serving_surge: bool | None
    """Whether a new pod is made before an old one ends; None: if the nodes have room for it."""
    pause_seconds: int
    """How long nodes and load balancers may go on to send requests to a pod that is to end."""
    drain_seconds: int
    """How long requests may take that such a pod has taken."""
    load_seconds: int
    """How long a new pod may take until its model answers."""
    serving_batching: bool
    """Whether requests that wait at the same time run as one."""
    serving_cors: bool
    """Whether web pages of any origin may ask over REST."""
    serving_op_libraries: tuple[str, ...]
    """Paths in the runtime image, of libraries with operations that TensorFlow does not have."""
    log_format: LogFormat
    """Of the prediction service's pods."""
    metrics: Metrics
    """How Prometheus learns of the pods' numbers."""
    metrics_labels: Mapping[str, str]
    """Of the PodMonitor: by them the Prometheus operator chooses."""
    serving_flavour: Flavour
    exposure: Exposure
    """Of the prediction service."""
    tensorboard_service_type: ServiceType
    access: AccessSettings | None
    """TLS on the prediction service's ports, and a token; None: plain text for everyone."""
    store: Access | None
    """AWS, or anything S3-compatible; None: the stack runs its own."""
    data_bucket: str
    """Holds code and data."""
    output_bucket: str
    """Holds runs and models."""
    given_buckets: frozenset[str]
    """Those of the two that somebody else has made: neither made nor deleted by the stack."""
    network_policies: bool
    """Whether the stack says who may talk to whom in its namespace."""
    pods: PodDefaults
    """What all pods have."""
    asks_for_user: bool
    """Whether the cluster decides who pods run as: the configuration doesn't say."""
    queue: str | None
    """Kueue's, in which training Jobs wait for room; None: they begin at once."""
    proxy: Proxy | None
    """By which pods reach the world; None: they need none."""
    storage_size: str
    """Size of the in-stack object store's volume, which may grow later."""
    storage_class: str | None
    """Its class, when it is made; the cluster's default unless set."""
    force_destroy: bool
    """Let `pulumi destroy` delete buckets with everything in them."""
    kube_context: str
    """Context of the kubeconfig; empty for its current one."""
    stack_id: str | None
    """What marks all that is the stack's; made once, and kept in the state, unless set."""
