"""One stack's configuration, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..cluster.flavour import Flavour
from .access import AccessSettings
from .external_store import ExternalStore
from .proxy import Proxy

ServiceType = Literal["NodePort", "LoadBalancer", "ClusterIP"]
ServingEngine = Literal["embedded", "tensorflow-serving"]
LogFormat = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stack's configuration, checked."""

    stack: str
    """`<project>-<stack>`: the mark on the namespace, and the default of names."""
    runtime_image: str
    """Image with Python, TensorFlow, boto3 and SeaweedFS: runs everything but the training."""
    data_dir: str
    """Local folder, or `s3://bucket/prefix` in the configured object store."""
    namespace: str
    image: str
    """Training image; the runtime image unless set."""
    code_dir: Path
    boot_file: str
    run_parameters: Mapping[str, str]
    flavour: Flavour
    node_count: int
    timeout_seconds: int
    """A Job that runs longer fails."""
    retries: int
    """How often a Job starts anew what failed by itself."""
    min_accuracy: float | None
    """A model with less is not published."""
    min_metrics: Mapping[str, float]
    """Metric -> the least that it may be for the model to be published."""
    max_metrics: Mapping[str, float]
    """Metric -> the most that it may be."""
    model_name: str
    model_version: int | None
    """Serve this published version in place of the one that the present code and data make."""
    serving_engine: ServingEngine
    serving_replicas: int
    serving_batching: bool
    """Whether requests that wait at the same time run as one."""
    serving_cors: bool
    """Whether web pages of any origin may ask over REST."""
    serving_op_libraries: tuple[str, ...]
    """Paths in the runtime image, of libraries with operations that TensorFlow does not have."""
    log_format: LogFormat
    """Of the prediction service's pods."""
    serving_flavour: Flavour
    service_type: ServiceType
    grpc_node_port: int | None
    """Port of the prediction service on every node; the cluster picks one unless set."""
    host: str | None
    """Address under which clients reach the cluster; found out unless set."""
    access: AccessSettings | None
    """TLS on the prediction service's ports, and a token; None: plain text for everyone."""
    store: ExternalStore | None
    """None: the stack runs its own."""
    data_bucket: str
    """Holds code and data."""
    output_bucket: str
    """Holds runs and models."""
    proxy: Proxy | None
    """By which pods reach the world; None: they need none."""
    storage_size: str
    """Size of the in-stack object store's volume, when it is made; it stays as it is later."""
    storage_class: str | None
    """Its class, when it is made; the cluster's default unless set."""
    force_destroy: bool
    """Let `pulumi destroy` delete buckets with everything in them."""
    kube_context: str
    """Context of the kubeconfig; empty for its current one."""
    stack_id: str | None
    """What marks all that is the stack's; made once, and kept in the state, unless set."""
