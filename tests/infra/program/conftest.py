"""A stack that is deployed: its Job in the cluster, its model in a real bucket."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.cluster import description
from store import buckets
from store.client import Client, connect
from store.objects import delete_many, list_objects
from store.urls import S3Url
from tests.infra.conftest import STACK, STACK_ID, Engine, FakeCluster, Up
from tests.seaweedfs import REGION, SeaweedFS
from tests.store.test_models import put_version

JOB = "kubernetes:batch/v1:Job"
JOBS = f"/apis/batch/v1/namespaces/{STACK}/jobs"
PLACE = f"/api/v1/namespaces/{STACK}"


@dataclass
class Deployed:
    """A stack whose run has published version 1, with its Job."""

    cluster: FakeCluster
    client: Client
    model: S3Url
    run_hash: str
    job: dict[str, Any]

    def jobs(self, *jobs: dict[str, Any]) -> None:
        self.cluster.answers[JOBS] = {"items": list(jobs)}

    def ended(self, condition: str = "Complete") -> dict[str, Any]:
        return self.job | {"status": {"conditions": [{"type": condition, "status": "True"}]}}


@pytest.fixture
def deployed(
    up: Up, engine: Engine, fake_cluster: FakeCluster, object_store: SeaweedFS
) -> Iterator[Deployed]:
    up()
    job = engine.the(JOB, "training-job")
    run_hash = job["spec"]["template"]["metadata"]["annotations"]["dlstack.dev/run-hash"]
    keys = (object_store.access_key, object_store.secret_key)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    told = description.write(
        stack_id=STACK_ID,
        stack=STACK,
        host="203.0.113.1",
        output_bucket=f"{STACK}-output",
        model_name="mnist",
        store_endpoint=object_store.endpoint,
        store_region=REGION,
        store_in_stack=True,
        store_secret="object-store",
        pinned_version=None,
    )
    secret = {
        name: base64.b64encode(key.encode()).decode() for name, key in zip(names, keys, strict=True)
    }
    fake_cluster.answers |= {
        f"{PLACE}/configmaps/stack": {"data": told},
        f"{PLACE}/secrets/object-store": {"data": secret},
    }
    client = connect(object_store.access(), direct=True)
    bucket = S3Url(f"{STACK}-output")
    buckets.create(client, bucket.bucket)
    model = bucket / "models/mnist"
    put_version(client, model, 1, run_hash, metrics={"accuracy": 0.9})
    one = Deployed(fake_cluster, client, model, run_hash, job)
    one.jobs(one.ended())
    yield one
    delete_many(client, bucket.bucket, [entry.path for entry in list_objects(client, bucket)])
    buckets.delete(client, bucket.bucket)
    connect.cache_clear()
