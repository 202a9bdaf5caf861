"""The object store, in the stack or outside of it, with the stack's two buckets."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import EnvVarArgs, Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from store.access import ACCESS_KEY, SECRET_KEY, Access

from ..cluster import names
from ..components import pod_specs
from ..components.object_store import REGION, ObjectStore, ObjectStoreArgs
from ..resources.bucket import Bucket
from ..resources.connection import CREDENTIALS, OF_THE_ENVIRONMENT, Store, fingerprint
from ..resources.credentials import GeneratedCredentials
from ..resources.destroy_guard import DestroyGuard
from ..settings.settings import Settings
from .place import Place


@dataclass(frozen=True)
class Storage:
    """What the rest of the stack uses of the object store."""

    store: Store
    """For the dynamic resources."""
    environment: Sequence[EnvVarArgs]
    """For pods."""
    keys: pulumi.Output[str] | None
    """Changes with the credentials (`connection.fingerprint`); None: they never change."""
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
    external = settings.store
    name = (
        names.store_secret(external.endpoint, external.region) if external else names.OBJECT_STORE
    )
    secret = _secret(settings, place, name)
    region = external.region if external else REGION
    own = None if external else _own_store(settings, place, name, secret)
    store = {
        "in_stack": own is not None,
        "cluster": place.cluster,
        "namespace": place.namespace,
        # Not an output of the Secret: where one is replaced, Pulumi takes each use of it for
        # changed.
        "secret": name,
        "endpoint": own.ready_endpoint if own else external.endpoint if external else "",
        "region": region,
        "stack_id": place.stack_id,
        "stack": settings.stack,
        "volume": own.volume if own else "",
    }
    keys = _fingerprint(external, place) if external else None
    # Trained models outlive a stack where they can: in a store that isn't part of it.
    own_outputs = ["runs/", "models/", "packages/"] if own else []
    output_bucket = Bucket(
        "output-bucket",
        bucket=settings.output_bucket,
        store=store,
        own_prefixes=own_outputs,
        force_destroy=settings.force_destroy,
        keys=keys or "",
        given=settings.output_bucket in settings.given_buckets,
        opts=pulumi.ResourceOptions(depends_on=[secret]),
    )
    data_bucket = Bucket(
        "data-bucket",
        bucket=settings.data_bucket,
        store=store,
        own_prefixes=[],
        force_destroy=settings.force_destroy,
        keys="",
        given=settings.data_bucket in settings.given_buckets,
        # A change that the output bucket refuses must not have begun with this one.
        opts=pulumi.ResourceOptions(depends_on=[secret, output_bucket]),
    )
    return Storage(
        store=store,
        environment=pod_specs.store_environment(
            own.endpoint if own else external.endpoint or None if external else None,
            region,
            name,
            *([external.variables] if external else []),
        ),
        keys=keys,
        data_bucket=data_bucket,
        output_bucket=output_bucket,
        own_outputs=own_outputs,
    )


def declare_guard(settings: Settings, storage: Storage, users: Sequence[pulumi.Resource]) -> None:
    """Declare what looks into the buckets before `pulumi destroy` takes their `users` away."""
    DestroyGuard(
        "destroy-guard",
        # What stays needs no guard.
        buckets=[
            (bucket.bucket, own)
            for bucket, own, name in (
                (storage.data_bucket, [], settings.data_bucket),
                (storage.output_bucket, storage.own_outputs, settings.output_bucket),
            )
            if name not in settings.given_buckets
        ],
        store=storage.store,
        force_destroy=settings.force_destroy,
        opts=pulumi.ResourceOptions(depends_on=users),
    )


def _secret(settings: Settings, place: Place, name: str) -> Secret:
    """Declare the Secret with the store's credentials.

    Each store has one of its own: while a stack moves, the old store's is there as well.
    """
    return Secret(
        name,
        metadata=ObjectMetaArgs(
            name=name,
            namespace=place.namespace,
            labels=names.labels(names.OBJECT_STORE, place.instance),
        ),
        string_data=_credentials(settings.store, place, name),
    )


def _credentials(
    external: Access | None, place: Place, secret: str
) -> dict[str, pulumi.Input[str]]:
    if external is None:
        generated = GeneratedCredentials(
            "object-store-credentials",
            cluster=place.cluster,
            namespace=place.namespace,
            secret=secret,
        )
        return {ACCESS_KEY: generated.access_key, SECRET_KEY: generated.secret_key}
    found: dict[str, pulumi.Input[str]] = {
        name: pulumi.Output.secret(value) for name, value in external.variables.items()
    }
    return found if external.access_key else {**found, CREDENTIALS: OF_THE_ENVIRONMENT}


def _fingerprint(external: Access, place: Place) -> pulumi.Output[str]:
    access_key, *others = external.variables.values() or [""]
    return pulumi.Output.from_input(place.stack_id).apply(
        lambda salt: fingerprint(access_key, "\n".join(others), salt)
    )


def _own_store(settings: Settings, place: Place, secret: str, after: Secret) -> ObjectStore:
    return ObjectStore(
        names.OBJECT_STORE,
        ObjectStoreArgs(
            namespace=place.namespace,
            instance=place.instance,
            image=settings.runtime_image,
            secret=secret,
            after=[after],
            storage_size=settings.storage_size,
            storage_class=settings.storage_class,
            pods=settings.pods,
            cluster=place.cluster,
        ),
    )
