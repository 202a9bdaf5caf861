"""The model that the stack publishes, the version that serves, and the prediction service.

With `dlstack:deploy` false they are two: what serves goes on to, whatever is published.
"""

from dataclasses import dataclass

import pulumi

from store.urls import is_s3

from ..cluster import autoscalers, names
from ..components.access import Access, AccessArgs
from ..components.prediction_args import PredictionServiceArgs
from ..components.prediction_service import PredictionService
from ..resources.imported_model import ImportedModel
from ..resources.published_model import PublishedModel
from ..run import packages
from ..settings.settings import Settings
from .place import Place
from .plan import Plan
from .proxy import ProxySecret
from .storage import Storage
from .training import Training


@dataclass(frozen=True)
class Serving:
    """What the stack's outputs say of it."""

    published: PublishedModel | ImportedModel
    """What the run publishes, the version that is pinned, or the model that is copied."""
    model_name: str
    """Of what is served."""
    model: PublishedModel | ImportedModel | None
    """What is served; None: nothing is."""
    prediction: PredictionService | None
    access: Access | None


def declare_serving(
    settings: Settings,
    plan: Plan,
    place: Place,
    storage: Storage,
    training: Training,
    proxy: ProxySecret,
    described: pulumi.Resource,
) -> Serving:
    """Declare the service of the model that the run publishes, or of the version that is pinned.

    With `dlstack:deploy` false it is that of the version that serves already, if one does.
    """
    published = _published(settings, plan, storage, training, described)
    name = settings.model_name
    model: PublishedModel | ImportedModel = published
    version: pulumi.Input[int] = published.version
    if not settings.deploys:
        if plan.served is None:
            return Serving(published, name, None, None, None)
        name, version = plan.served.model_name, plan.served.version
        model = PublishedModel(
            "served-model",
            bucket=storage.output_bucket.bucket,
            model_name=name,
            run_hash=None,
            version=plan.served.version,
            attempt=None,
            seen=None,
            store=storage.store,
        )
    access = _access(settings, place)
    prediction = PredictionService(
        names.PREDICTION,
        PredictionServiceArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.runtime_image,
            packages=place.packages(place.package("serving", packages.read("serving"))),
            engine=settings.serving_engine,
            batching=settings.serving_batching,
            cors=settings.serving_cors,
            op_libraries=settings.serving_op_libraries,
            store_environment=storage.environment,
            model_name=name,
            model_url=pulumi.Output.concat(storage.output_url, f"/models/{name}"),
            version=version,
            checked=plan.imported is not None and settings.deploys,
            scale=settings.serving_scale,
            scaled_by_others=_scaled_by_others(settings, place),
            surge=place.surge if settings.serving_surge is None else settings.serving_surge,
            pause_seconds=settings.pause_seconds,
            drain_seconds=settings.drain_seconds,
            load_seconds=settings.load_seconds,
            log_format=settings.log_format,
            flavour=settings.serving_flavour,
            # A browser reaches nothing that is for pods only.
            tensorboard_url=""
            if settings.tensorboard_service_type == "ClusterIP"
            else training.tensorboard.url,
            exposure=settings.exposure,
            edge_secret=(access and access.edge_secret) or settings.exposure.tls_secret,
            host=place.host,
            access=access if access and access.volume else None,
            scraping=place.scraping,
            pods=settings.pods,
            cluster=place.cluster,
        ),
        pulumi.ResourceOptions(depends_on=proxy.resources),
    )
    return Serving(published, name, model, prediction, access)


def _scaled_by_others(settings: Settings, place: Place) -> bool:
    """Say whether somebody else's autoscaler decides about the pods, as KEDA's does.

    Raises:
        pulumi.RunError: it and the stack's own would undo each other's work.
    """
    own = names.labels(names.PREDICTION, place.instance)
    other = autoscalers.of_others(place.cluster, settings.namespace, names.PREDICTION, own)
    if settings.serving_scale.most is not None:
        if other is not None:
            raise pulumi.RunError(
                f"The autoscaler '{other}' of the namespace '{settings.namespace}' scales the "
                f"prediction service, and dlstack:servingReplicas ({settings.serving_scale}) asks "
                "for another one. Remove one of the two: 'pulumi config rm "
                f"dlstack:servingReplicas', or 'kubectl delete hpa {other} --namespace "
                f"{settings.namespace}' and what makes it."
            )
        if not autoscalers.has_metrics(place.cluster):
            pulumi.log.warn(
                f"dlstack:servingReplicas asks for {settings.serving_scale}, but the cluster has "
                "no metrics API to tell the load: the number of pods stays as it is until "
                "metrics-server runs there ('kubectl top pods' shows whether it does)."
            )
    elif other is not None:
        pulumi.log.info(
            f"The autoscaler '{other}' says how many pods the prediction service has; "
            "dlstack:servingReplicas is not used."
        )
    return other is not None


def _published(
    settings: Settings,
    plan: Plan,
    storage: Storage,
    training: Training,
    described: pulumi.Resource,
) -> PublishedModel | ImportedModel:
    if (found := plan.imported) is not None:
        return ImportedModel(
            "imported-model",
            source=found.source,
            given=str(settings.model),
            source_url=found.url,
            source_store=found.store or (storage.store if is_s3(found.url) else None),
            identity=found.identity,
            seen=found.seen,
            bucket=storage.output_bucket.bucket,
            model_name=settings.model_name,
            store=storage.store,
        )
    return PublishedModel(
        "model",
        bucket=storage.output_bucket.bucket,
        model_name=settings.model_name,
        run_hash=plan.run.hash if plan.run else None,
        version=settings.model_version,
        attempt=plan.attempt.number if plan.attempt else None,
        seen=plan.published,
        store=storage.store,
        # The Job publishes what this looks for, and tells nobody but the bucket. Where it finds
        # nothing, `python -m infra restore` needs the stack's description.
        opts=pulumi.ResourceOptions(
            depends_on=[described, *([training.job.end] if training.job else [])]
        ),
    )


def _access(settings: Settings, place: Place) -> Access | None:
    if settings.access is None:
        return None
    inside = f"{names.PREDICTION}.{settings.namespace}"
    return Access(
        "access",
        AccessArgs(
            namespace=place.namespace,
            instance=place.instance,
            certificate=settings.access.certificate,
            key=settings.access.key,
            # The address that clients use, if one is known, and those that they have beside it in
            # the cluster.
            hosts=[
                *filter(None, [settings.exposure.host or place.host]),
                *("localhost", "127.0.0.1", inside, f"{inside}.svc"),
            ],
            token=settings.access.token,
            in_pods=settings.access.in_pods,
        ),
    )
