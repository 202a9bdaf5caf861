"""The object store, in the stack or outside of it, with the stack's two buckets."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import EnvVarArgs, Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..components import pod_specs
from ..components.object_store import REGION, ObjectStore, ObjectStoreArgs
from ..resources.bucket import Bucket
from ..resources.connection import ACCESS_KEY, SECRET_KEY, Store
from ..resources.credentials import GeneratedCredentials
from ..resources.destroy_guard import DestroyGuard
from ..settings.external_store import ExternalStore
from ..settings.settings import Settings
from .place import Place


@dataclass(frozen=True)
class Storage:
    """What the rest of the stack uses of the object store."""

    store: Store
    """For the dynamic resources."""
    environment: Sequence[EnvVarArgs]
    """For pods."""
    data_bucket: Bucket
    output_bucket: Bucket
    own_outputs: Sequence[str]
    """Prefixes of the output bucket that go with the stack."""

    @property
    def output_url(self) -> pulumi.Output[str]:
        """`s3://` URL of the output bucket."""
        return pulumi.Output.concat("s3://", self.output_bucket.bucket)


def declare_storage(settings: Settings, place: Place) -> Storage:
    """Declare the store, unless another one is configured, the Secret for it, and the buckets."""
    secret = _secret(settings, place)
    region = settings.store.region if settings.store else REGION
    endpoint, outside_endpoint = _endpoints(settings, place, secret)
    store = {
        "in_stack": settings.store is None,
        "cluster": place.cluster,
        "namespace": place.namespace,
        "secret": secret,
        "endpoint": outside_endpoint,
        "region": region,
    }
    # Trained models outlive a stack where they can: in a store that isn't part of it.
    own_outputs = ["runs/", "models/"] if settings.store is None else []
    return Storage(
        store=store,
        environment=pod_specs.store_environment(endpoint, region, secret),
        data_bucket=_bucket("data-bucket", settings.data_bucket, store, [], settings),
        output_bucket=_bucket(
            "output-bucket", settings.output_bucket, store, own_outputs, settings
        ),
        own_outputs=own_outputs,
    )


def declare_guard(settings: Settings, storage: Storage, users: Sequence[pulumi.Resource]) -> None:
    """Declare what looks into the buckets before `pulumi destroy` takes their `users` away."""
    DestroyGuard(
        "destroy-guard",
        buckets=[
            (storage.data_bucket.bucket, []),
            (storage.output_bucket.bucket, storage.own_outputs),
        ],
        store=storage.store,
        force_destroy=settings.force_destroy,
        opts=pulumi.ResourceOptions(depends_on=users),
    )


def _bucket(
    name: str, bucket: str, store: Store, own_prefixes: Sequence[str], settings: Settings
) -> Bucket:
    return Bucket(
        name,
        bucket=bucket,
        store=store,
        own_prefixes=own_prefixes,
        force_destroy=settings.force_destroy,
    )


def _secret(settings: Settings, place: Place) -> pulumi.Output[str]:
    """Declare the Secret with the store's credentials; return its name."""
    secret = Secret(
        names.OBJECT_STORE,
        metadata=ObjectMetaArgs(
            name=names.OBJECT_STORE,
            namespace=place.namespace,
            labels=names.labels(names.OBJECT_STORE, settings.stack),
        ),
        string_data=_credentials(settings.store),
    )
    return secret.metadata.apply(lambda metadata: str(metadata.name))


def _credentials(external: ExternalStore | None) -> dict[str, pulumi.Input[str]]:
    if external is None:
        generated = GeneratedCredentials("object-store-credentials")
        return {ACCESS_KEY: generated.access_key, SECRET_KEY: generated.secret_key}
    return {
        ACCESS_KEY: pulumi.Output.secret(external.access_key),
        SECRET_KEY: pulumi.Output.secret(external.secret_key),
    }


def _endpoints(
    settings: Settings, place: Place, secret: pulumi.Output[str]
) -> tuple[pulumi.Input[str] | None, pulumi.Input[str]]:
    """Return the store's URL for pods (None: AWS) and for this program (empty: AWS).

    Declare the store where it is the stack's own.
    """
    if settings.store is not None:
        return settings.store.endpoint or None, settings.store.endpoint
    own = ObjectStore(
        names.OBJECT_STORE,
        ObjectStoreArgs(
            namespace=place.namespace,
            instance=settings.stack,
            image=settings.runtime_image,
            secret=secret,
            storage_size=settings.storage_size,
            storage_class=settings.storage_class,
            service_type=settings.service_type,
            host=place.host,
            forced_host=settings.host,
            cluster=place.cluster,
        ),
    )
    return own.endpoint, own.outside_endpoint
