"""The published model that serves, and the prediction service."""

from dataclasses import dataclass

import pulumi

from ..cluster import names
from ..components.access import Access, AccessArgs
from ..components.prediction_service import PredictionService, PredictionServiceArgs
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

    model: PublishedModel
    prediction: PredictionService
    access: Access | None


def declare_serving(
    settings: Settings,
    plan: Plan,
    place: Place,
    storage: Storage,
    training: Training,
    proxy: ProxySecret,
) -> Serving:
    """Declare the service of the model that the run publishes, or of the version that is pinned."""
    access = _access(settings, place)
    model = PublishedModel(
        "model",
        bucket=storage.output_bucket.bucket,
        model_name=settings.model_name,
        run_hash=plan.run.hash if plan.run else None,
        version=settings.model_version,
        attempt=plan.attempt.number if plan.attempt else None,
        seen=plan.published,
        store=storage.store,
        # The Job publishes what this looks for, and tells nobody but the bucket.
        opts=pulumi.ResourceOptions(depends_on=[training.job.end] if training.job else []),
    )
    prediction = PredictionService(
        names.PREDICTION,
        PredictionServiceArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.runtime_image,
            packages=place.packages("serving", packages.read("serving")),
            engine=settings.serving_engine,
            batching=settings.serving_batching,
            cors=settings.serving_cors,
            op_libraries=settings.serving_op_libraries,
            store_environment=storage.environment,
            model_name=settings.model_name,
            model_url=pulumi.Output.concat(storage.output_url, f"/models/{settings.model_name}"),
            version=model.version,
            replicas=settings.serving_replicas,
            log_format=settings.log_format,
            flavour=settings.serving_flavour,
            tensorboard_url="" if access else training.tensorboard.url,
            service_type=settings.service_type,
            grpc_node_port=settings.grpc_node_port,
            host=place.host,
            forced_host=settings.host,
            access=access,
            cluster=place.cluster,
        ),
        pulumi.ResourceOptions(depends_on=proxy.resources),
    )
    return Serving(model, prediction, access)


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
            # The address that clients use, and those that they have beside it in the cluster.
            hosts=[place.host, "localhost", "127.0.0.1", inside, f"{inside}.svc"],
            token=settings.access.token,
        ),
    )
