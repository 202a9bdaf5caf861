"""The whole stack: what is refused before anything is made, the three parts, the outputs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import api, description, names
from ..cluster.clusters import Cluster
from ..cluster.served import Served
from ..components import routes, scraping
from ..resources.imported_model import ImportedModel
from ..resources.published_model import PublishedModel
from ..resources.retention import Retention
from ..settings.settings import Metrics, Settings
from . import named_objects, room, store_look
from .place import Place
from .plan import Plan, plan
from .proxy import ProxySecret
from .serving import Serving, declare_serving
from .storage import Storage, declare_guard, declare_storage
from .training import Training, declare_training


def build(settings: Settings) -> Mapping[str, Any]:
    """Declare the whole stack and return its outputs (docs/contracts.md)."""
    cluster = (
        api.identify(settings.kube_context)
        if settings.creates_namespace
        else api.identify(settings.kube_context, settings.namespace)
    )
    configured, settings = settings, _on(cluster, settings)
    planned = plan(settings, cluster)
    found = room.look(settings, planned, cluster)
    problem = found.problem or _lacks_gateways(settings, cluster)
    problem = problem or _lacks_monitors(configured, cluster)
    problem = problem or named_objects.lacking(settings, cluster)
    problem = problem or store_look.problem(settings, planned, cluster)

    place = Place(settings, cluster, found.host, problem, surge=found.surge)
    storage = declare_storage(settings, place)
    described = _describe(settings, planned, place, storage)
    proxy = ProxySecret(settings, place)
    training = declare_training(settings, planned, place, storage, proxy)
    serving = declare_serving(settings, planned, place, storage, training, proxy, described)
    if settings.metrics == "podMonitor":
        scraping.declare_monitor(place.namespace, place.instance, settings.metrics_labels)
    # All that a refused `destroy` leaves. What these use goes after them by itself.
    users = [described, training.tensorboard, training.others, training.job, serving.prediction]
    retention = _retention(settings, storage, training, serving)
    declare_guard(settings, storage, [one for one in (*users, retention) if one is not None])
    return _outputs(settings, planned, training, serving)


def _retention(
    settings: Settings, storage: Storage, training: Training, serving: Serving
) -> Retention | None:
    """Declare which versions stay when the one that is published serves."""
    if settings.keep_versions is None:
        return None
    models = [(settings.model_name, serving.published)]
    if serving.model is not None and serving.model is not serving.published:
        models.append((serving.model_name, serving.model))
    return Retention(
        "retention",
        keep=settings.keep_versions,
        model_name=settings.model_name,
        versions=[(name, model.version) for name, model in models],
        folders=training.folders,
        output_bucket=storage.output_bucket.bucket,
        data_bucket=storage.data_bucket.bucket,
        given=settings.given_buckets,
        store=storage.store,
        opts=pulumi.ResourceOptions(depends_on=[serving.prediction or serving.published]),
    )


def _lacks_gateways(settings: Settings, cluster: Cluster) -> str:
    """Return why routes can't be made; empty if they can, or none is wanted."""
    if settings.exposure.type != "Gateway" or api.get(cluster, f"/apis/{routes.API}") is not None:
        return ""
    return (
        f"dlstack:serviceType is Gateway, but the cluster does not know '{routes.API}'. Have the "
        "Gateway API installed (https://gateway-api.sigs.k8s.io), or set another serviceType."
    )


def _lacks_monitors(settings: Settings, cluster: Cluster) -> str:
    """Return why a PodMonitor can't be made; empty if it can, or none is wanted."""
    if settings.metrics != "podMonitor" or _knows_monitors(cluster):
        return ""
    return (
        f"dlstack:metrics is podMonitor, but the cluster does not know the kind {scraping.KIND}. "
        "Have the Prometheus operator installed (https://prometheus-operator.dev), or set "
        "dlstack:metrics annotations."
    )


def _knows_monitors(cluster: Cluster) -> bool:
    known = api.get(cluster, f"/apis/{scraping.GROUP}/{scraping.VERSION}") or {}
    return scraping.KIND in (one["kind"] for one in known.get("resources", []))


_ASSIGNS_IDS = "/apis/security.openshift.io"
"""OpenShift, which refuses pods that say themselves as whom they run."""


def _on(cluster: Cluster, settings: Settings) -> Settings:
    """Return the settings with what the cluster decides where the configuration does not."""
    if settings.metrics == "auto":
        how: Metrics = "podMonitor" if _knows_monitors(cluster) else "annotations"
        settings = dataclasses.replace(settings, metrics=how)
    if settings.asks_for_user and api.get(cluster, _ASSIGNS_IDS) is not None:
        return dataclasses.replace(settings, pods=dataclasses.replace(settings.pods, user=None))
    return settings


def _describe(settings: Settings, planned: Plan, place: Place, storage: Storage) -> ConfigMap:
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
            exposure=settings.exposure,
            output_bucket=storage.output_bucket.bucket,
            data_bucket=storage.data_bucket.bucket,
            model_name=settings.model_name,
            store_endpoint=storage.store["endpoint"],
            store_region=storage.store["region"],
            store_in_stack=storage.store["in_stack"],
            store_secret=storage.store["secret"],
            pinned_version=settings.model_version,
            deploys=settings.deploys,
            model=settings.model or "",
            data_dir=planned.data.folder,
            data_digest=planned.data.digest,
            model_identity=planned.imported.identity if planned.imported else "",
        ),
    )


def _outputs(
    settings: Settings, planned: Plan, training: Training, serving: Serving
) -> dict[str, Any]:
    prediction, model, access = serving.prediction, serving.model, serving.access
    outputs: dict[str, Any] = {
        "tensorboardUrl": training.tensorboard.url,
        "modelName": serving.model_name,
        "tls": settings.access is not None,
        "modelUrl": pulumi.Output.concat(
            f"s3://{settings.output_bucket}/models/{settings.model_name}/"
            if settings.store
            else f"stack:{settings.stack}/",
            serving.published.version.apply(lambda version: str(int(version))),
        ),
    }
    if prediction is not None:
        outputs |= {
            "host": prediction.host,
            "grpcPort": prediction.grpc_port,
            "restUrl": prediction.rest_url,
            "pageUrl": prediction.page_url,
        }
    if model is not None:
        outputs |= {
            "modelVersion": model.version,
            "runHash": model.run_hash,
            "metrics": model.metrics,
            "provenance": model.provenance,
        }
    if not settings.deploys:
        outputs["published"] = _published(settings, planned, serving.published)
    if access and access.authority:
        outputs["caCertificate"] = access.authority
    if settings.access and settings.access.token:
        outputs["token"] = pulumi.Output.secret(settings.access.token)
    return outputs


def _published(
    settings: Settings, planned: Plan, model: PublishedModel | ImportedModel
) -> dict[str, pulumi.Input[Any]]:
    """Return what was published and is to be served at a word only."""

    def state(version: int) -> str:
        one = Served(settings.model_name, int(version))
        if one == planned.served:
            return f"Version {one.version} is served"
        return (
            f"Version {one.version} is published and not served: "
            "pulumi config set dlstack:deploy true"
        )

    return {
        "model": settings.model_name,
        "version": model.version,
        "runHash": model.run_hash,
        "metrics": model.metrics,
        "state": model.version.apply(state),
    }
