"""What a prediction service is made of: a model's version, an engine, pods, ways in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_kubernetes.core.v1 import EnvVarArgs

from ..cluster.clusters import Cluster
from ..cluster.exposure import Exposure
from ..cluster.flavour import Flavour
from ..cluster.pod_defaults import PodDefaults
from ..cluster.scale import Scale
from .access import Access
from .packages import Packages
from .prediction_commands import ServingEngine
from .scraping import Scraping

LogFormat = Literal["text", "json"]


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
    checked: bool
    """Whether each signature is to answer before a pod serves: nobody has tried the model yet."""
    scale: Scale
    scaled_by_others: bool
    """Whether somebody else's autoscaler says how many pods there are."""
    surge: bool
    """Whether a new pod is made before an old one ends; else one after the other."""
    pause_seconds: int
    """How long nodes and load balancers may go on to send requests to a pod that is to end."""
    drain_seconds: int
    """How long requests may take that such a pod has taken."""
    load_seconds: int
    """How long a new pod may take until its model answers."""
    log_format: LogFormat
    flavour: Flavour
    """Of the model server."""
    tensorboard_url: pulumi.Input[str]
    """Link on the web page."""
    exposure: Exposure
    edge_secret: pulumi.Input[str] | None
    """Secret with the certificate of the Ingress."""
    host: str
    """Address of a node."""
    access: Access | None
    """None: the ports are plain."""
    scraping: Scraping | None
    """How Prometheus finds the pods' numbers; None: they show none."""
    pods: PodDefaults
    """What all pods of the stack have."""
    cluster: Cluster
