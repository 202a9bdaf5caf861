"""Where the components meet: from settings to resources and stack outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, EnvVarArgs, Namespace, Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from . import s3
from .cluster import api, names, namespace, nodes
from .commands import deployed
from .components import packages, pod_specs
from .components.access import Access
from .components.object_store import REGION, ObjectStore, ObjectStoreArgs
from .components.prediction_service import PredictionService, PredictionServiceArgs
from .components.tensorboard import TensorBoard, TensorBoardArgs
from .components.training_job import TrainingJob, TrainingJobArgs, is_there, next_attempt
from .resources.credentials import ACCESS_KEY, SECRET_KEY, GeneratedCredentials, Store
from .resources.published_model import PublishedModel
from .resources.storage import Bucket, DestroyGuard, Folder
from .run import checksums, git
from .run.run_hash import digest, run_hash, short
from .settings import name_rules
from .settings.settings import ExternalStore, Settings


def build(settings: Settings) -> Mapping[str, Any]:
    """Declare the whole stack and return its outputs (docs/contracts.md)."""
    run = _Run.of(settings)
    found = nodes.usable(settings.kube_context)
    nodes.require_room(found, settings.flavour, "dlstack:flavour", settings.node_count)
    nodes.require_room(found, settings.serving_flavour, "dlstack:servingFlavour")
    namespace.require_own(settings.kube_context, settings.namespace, settings.stack)
    jobs = api.get(settings.kube_context, f"/apis/batch/v1/namespaces/{settings.namespace}/jobs")
    place = _Place(settings, settings.host or nodes.address(found))

    store = _store(settings, place)
    data_bucket = Bucket(
        "data-bucket",
        bucket=name_rules.bucket(settings.bucket_prefix, "data"),
        store=store.props,
        own_prefixes=[],
        force_destroy=settings.force_destroy,
    )
    # Trained models outlive a stack where they can: in a store that isn't part of it.
    own_outputs = ["runs/", "models/"] if settings.store is None else []
    output_bucket = Bucket(
        "output-bucket",
        bucket=name_rules.bucket(settings.bucket_prefix, "output"),
        store=store.props,
        own_prefixes=own_outputs,
        force_destroy=settings.force_destroy,
    )
    code = Folder(
        "code",
        path=settings.code_dir,
        files=run.code,
        bucket=data_bucket.bucket,
        prefix="code/",
        store=store.props,
    )
    data_url: pulumi.Input[str] = settings.data_dir
    if not settings.data_dir.startswith("s3://"):
        data_url = Folder(
            "data",
            path=settings.data_dir,
            files=run.data,
            bucket=data_bucket.bucket,
            prefix="data/",
            store=store.props,
        ).url
    output_url = pulumi.Output.concat("s3://", output_bucket.bucket)
    ConfigMap(
        "description",
        metadata=ObjectMetaArgs(
            name=names.DESCRIPTION,
            namespace=place.namespace,
            labels=names.labels(names.DESCRIPTION, settings.stack),
        ),
        data=deployed.description(
            stack=settings.stack,
            host=place.host,
            bucket=output_bucket.bucket,
            model_name=settings.model_name,
            store=store.props,
        ),
    )

    training = place.package("training", run.library)
    serving = place.package("serving", packages.read("serving"))
    access = _access(settings, place)
    tensorboard = TensorBoard(
        names.TENSORBOARD,
        TensorBoardArgs(
            namespace=place.namespace,
            instance=settings.stack,
            image=settings.runtime_image,
            package=training,
            store_environment=store.environment,
            runs_url=pulumi.Output.concat(output_url, "/runs"),
            # TensorBoard has neither encryption nor a token: it stays in the cluster then.
            service_type="ClusterIP" if access else settings.service_type,
            host=place.host,
            forced_host=None if access else settings.host,
        ),
    )
    old_jobs = (jobs or {}).get("items", [])
    attempt = next_attempt(old_jobs, run.hash, lambda: git.commit(settings.code_dir, run.code))
    job = TrainingJob(
        names.TRAINING,
        TrainingJobArgs(
            namespace=place.namespace,
            instance=settings.stack,
            image=settings.image,
            package=training,
            store_environment=store.environment,
            code_url=code.url,
            data_url=data_url,
            output_url=output_url,
            boot_file=settings.boot_file,
            run_parameters=settings.run_parameters,
            run_hash=run.hash,
            model_name=settings.model_name,
            min_accuracy=settings.min_accuracy,
            min_metrics=settings.min_metrics,
            max_metrics=settings.max_metrics,
            provenance=run.provenance,
            flavour=settings.flavour,
            node_count=settings.node_count,
            timeout_seconds=settings.timeout_seconds,
            retries=settings.retries,
            attempt=attempt,
        ),
    )
    if not (is_there(old_jobs, run.hash, attempt) or pulumi.runtime.is_dry_run()):
        # Of the stack, not of the Job: a resource's messages wait until it is made, or has failed.
        pulumi.log.info(
            f"Training run {short(run.hash)}, attempt {attempt.number}. "
            "Its log, while it goes on and afterwards: python -m infra logs -f"
        )
    model = PublishedModel(
        "model",
        bucket=output_bucket.bucket,
        model_name=settings.model_name,
        run_hash=run.hash,
        version=settings.model_version,
        store=store.props,
        # The Job publishes what this looks for, and tells nobody but the bucket.
        opts=pulumi.ResourceOptions(depends_on=[job.job]),
    )
    prediction = PredictionService(
        names.PREDICTION,
        PredictionServiceArgs(
            namespace=place.namespace,
            instance=settings.stack,
            image=settings.runtime_image,
            package=serving,
            engine=settings.serving_engine,
            batching=settings.serving_batching,
            store_environment=store.environment,
            model_name=settings.model_name,
            model_url=pulumi.Output.concat(output_url, f"/models/{settings.model_name}"),
            version=model.version,
            replicas=settings.serving_replicas,
            log_format=settings.log_format,
            flavour=settings.serving_flavour,
            tensorboard_url="" if access else tensorboard.url,
            service_type=settings.service_type,
            grpc_node_port=settings.grpc_node_port,
            host=place.host,
            forced_host=settings.host,
            access=access,
            kube_context=settings.kube_context,
        ),
    )
    DestroyGuard(
        "destroy-guard",
        buckets=[(data_bucket.bucket, []), (output_bucket.bucket, own_outputs)],
        store=store.props,
        force_destroy=settings.force_destroy,
        opts=pulumi.ResourceOptions(depends_on=[tensorboard, prediction]),
    )
    return {
        "host": prediction.host,
        "grpcPort": prediction.grpc_port,
        "restUrl": prediction.rest_url,
        "tensorboardUrl": tensorboard.url,
        "pageUrl": prediction.page_url,
        "modelName": settings.model_name,
        "modelVersion": model.version,
        "runHash": model.run_hash,
        "metrics": model.metrics,
        "provenance": model.provenance,
        "tls": access is not None,
        **_for_clients(access, settings),
    }


def _access(settings: Settings, place: "_Place") -> Access | None:
    if settings.access is None:
        return None
    inside = f"{names.PREDICTION}.{settings.namespace}"
    return Access(
        "access",
        settings.access,
        # The address that clients use, and those that they have beside it in the cluster.
        hosts=[place.host, "localhost", "127.0.0.1", inside, f"{inside}.svc"],
        namespace=place.namespace,
        instance=settings.stack,
    )


def _for_clients(access: Access | None, settings: Settings) -> dict[str, Any]:
    """Return the outputs that a client needs to be let in."""
    outputs: dict[str, Any] = {}
    if access and access.authority:
        outputs["caCertificate"] = access.authority
    if settings.access and settings.access.token:
        outputs["token"] = pulumi.Output.secret(settings.access.token)
    return outputs


@dataclass(frozen=True)
class _Run:
    """What the next training run is made of."""

    code: Mapping[str, str]
    data: Mapping[str, str]
    library: packages.Files
    hash: str
    provenance: Mapping[str, str | int]

    @classmethod
    def of(cls, settings: Settings) -> "_Run":
        code = checksums.folder(settings.code_dir, "codeDir")
        data = _data(settings)
        # The examples are code folders like any other: uploaded, not part of the agent.
        library = packages.read("training", without={"mnist", "text", "datasets"})
        return cls(
            code=code,
            data=data,
            library=library,
            hash=run_hash(
                code=code,
                library=library.checksums,
                data=data,
                boot_file=settings.boot_file,
                run_parameters=settings.run_parameters,
                image=settings.image,
                node_count=settings.node_count,
            ),
            provenance={
                "boot_file": settings.boot_file,
                "code_sha256": digest(code),
                "data_sha256": digest(data),
                "image": settings.image,
                "node_count": settings.node_count,
            },
        )


def _data(settings: Settings) -> dict[str, str]:
    """Return path -> checksum of the data set; of one in S3, size and ETag stand for it."""
    if not settings.data_dir.startswith("s3://"):
        return checksums.folder(settings.data_dir, "dataDir")
    store = settings.store
    assert store is not None  # `settings.load` refuses an s3:// URL without a store.
    bucket, _, prefix = settings.data_dir.removeprefix("s3://").partition("/")
    client = s3.connect(
        store.endpoint, store.region, store.access_key, store.secret_key, direct=False
    )
    try:
        objects = s3.list_objects(client, bucket, f"{prefix}/" if prefix else "")
    except s3.StoreError as exc:
        raise pulumi.RunError(f"dlstack:dataDir '{settings.data_dir}': {exc}") from exc
    if not objects:
        raise pulumi.RunError(
            f"dlstack:dataDir '{settings.data_dir}' has no files. Upload the data set there."
        )
    return {key: f"{size}-{etag}" for key, (size, etag) in objects.items()}


class _Place:
    """The namespace, and what is the same for all that lies in it."""

    def __init__(self, settings: Settings, host: str) -> None:
        self.host = host
        self.instance = settings.stack
        resource = Namespace(
            "namespace",
            metadata=ObjectMetaArgs(
                name=settings.namespace,
                labels={
                    **names.labels("namespace", settings.stack),
                    names.STACK_LABEL: settings.stack,
                    "pod-security.kubernetes.io/enforce": "restricted",
                },
            ),
        )
        self.namespace = resource.metadata.apply(lambda metadata: str(metadata.name))

    def package(self, name: str, files: packages.Files) -> packages.Package:
        return packages.Package(name, files, namespace=self.namespace, instance=self.instance)


@dataclass(frozen=True)
class _StoreUse:
    """How the rest of the stack uses the object store."""

    props: Store
    """For the dynamic resources."""
    environment: list[EnvVarArgs]
    """For pods."""


def _store(settings: Settings, place: _Place) -> _StoreUse:
    """Declare the Secret, and the in-stack store unless another one is configured."""
    external = settings.store
    secret = Secret(
        names.OBJECT_STORE,
        metadata=ObjectMetaArgs(
            name=names.OBJECT_STORE,
            namespace=place.namespace,
            labels=names.labels(names.OBJECT_STORE, settings.stack),
        ),
        string_data=_credentials(external),
    )
    secret_name = secret.metadata.apply(lambda metadata: str(metadata.name))
    props: dict[str, Any] = {
        "in_stack": external is None,
        "context": settings.kube_context,
        "namespace": place.namespace,
        "secret": secret_name,
    }
    if external is not None:
        environment = pod_specs.store_environment(
            external.endpoint or None, external.region, secret_name
        )
        props |= {"endpoint": external.endpoint, "region": external.region}
        return _StoreUse(props, environment)
    own = ObjectStore(
        names.OBJECT_STORE,
        ObjectStoreArgs(
            namespace=place.namespace,
            instance=settings.stack,
            image=settings.runtime_image,
            secret=secret_name,
            storage_size=settings.storage_size,
            storage_class=settings.storage_class,
            service_type=settings.service_type,
            host=place.host,
            forced_host=settings.host,
        ),
    )
    environment = pod_specs.store_environment(own.endpoint, REGION, secret_name)
    props |= {"endpoint": own.outside_endpoint, "region": REGION}
    return _StoreUse(props, environment)


def _credentials(external: ExternalStore | None) -> dict[str, pulumi.Input[str]]:
    if external is None:
        generated = GeneratedCredentials("object-store-credentials")
        return {ACCESS_KEY: generated.access_key, SECRET_KEY: generated.secret_key}
    return {
        ACCESS_KEY: pulumi.Output.secret(external.access_key),
        SECRET_KEY: pulumi.Output.secret(external.secret_key),
    }
