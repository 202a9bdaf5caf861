"""The whole stack: what is refused before anything is made, the three parts, the outputs."""

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import api, description, names, nodes
from ..cluster.clusters import Cluster
from ..settings.settings import Settings
from .place import Place
from .plan import Plan, plan
from .proxy import ProxySecret
from .serving import Serving, declare_serving
from .storage import Storage, declare_guard, declare_storage
from .training import Training, declare_training


def build(settings: Settings) -> Mapping[str, Any]:
    """Declare the whole stack and return its outputs (docs/contracts.md)."""
    cluster = api.identify(settings.kube_context)
    planned = plan(settings, cluster)
    host, problem = _room(settings, planned, cluster)

    place = Place(settings, cluster, host, problem)
    storage = declare_storage(settings, place)
    described = _describe(settings, place, storage)
    proxy = ProxySecret(settings, place)
    training = declare_training(settings, planned, place, storage, proxy)
    serving = declare_serving(settings, planned, place, storage, training, proxy)
    # All that a refused `destroy` leaves. What these use goes after them by itself.
    users = [described, training.tensorboard, training.others, training.job, serving.prediction]
    declare_guard(settings, storage, [one for one in users if one is not None])
    return _outputs(settings, training, serving)


def _room(settings: Settings, planned: Plan, cluster: Cluster) -> tuple[str, str]:
    """Return the address of a node for clients, and why the nodes don't hold what is asked for."""
    try:
        found = nodes.usable(cluster)
        if planned.attempt is not None:
            nodes.require_room(found, settings.flavour, "dlstack:flavour", settings.node_count)
        nodes.require_room(found, settings.serving_flavour, "dlstack:servingFlavour")
        return settings.host or nodes.address(found), ""
    except pulumi.RunError as problem:
        return settings.host or "", str(problem)


def _describe(settings: Settings, place: Place, storage: Storage) -> ConfigMap:
    return ConfigMap(
        "description",
        metadata=ObjectMetaArgs(
            name=names.DESCRIPTION,
            namespace=place.namespace,
            labels=names.labels(names.DESCRIPTION, place.instance),
        ),
        data=description.write(
            stack=settings.stack,
            stack_id=place.stack_id,
            host=place.host,
            output_bucket=storage.output_bucket.bucket,
            model_name=settings.model_name,
            store_endpoint=storage.store["endpoint"],
            store_region=storage.store["region"],
            store_in_stack=storage.store["in_stack"],
            store_secret=storage.store["secret"],
            pinned_version=settings.model_version,
        ),
    )


def _outputs(settings: Settings, training: Training, serving: Serving) -> dict[str, Any]:
    prediction, model, access = serving.prediction, serving.model, serving.access
    outputs: dict[str, Any] = {
        "host": prediction.host,
        "grpcPort": prediction.grpc_port,
        "restUrl": prediction.rest_url,
        "tensorboardUrl": training.tensorboard.url,
        "pageUrl": prediction.page_url,
        "modelName": settings.model_name,
        "modelVersion": model.version,
        "runHash": model.run_hash,
        "metrics": model.metrics,
        "provenance": model.provenance,
        "tls": access is not None,
    }
    if access and access.authority:
        outputs["caCertificate"] = access.authority
    if settings.access and settings.access.token:
        outputs["token"] = pulumi.Output.secret(settings.access.token)
    return outputs
