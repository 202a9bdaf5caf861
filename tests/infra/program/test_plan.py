"""What an `up` trains, given the Jobs in the cluster and the versions in a real bucket."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.cluster import description
from infra.resources import connection
from store import buckets
from store.client import Client, connect
from store.objects import delete, delete_many, list_objects
from store.urls import S3Url
from tests.infra.conftest import STACK, STACK_ID, Engine, FakeCluster, Up
from tests.infra.program.test_program import EXTERNAL, JOB, MODEL
from tests.infra.program.test_training import OTHER_RUNS
from tests.seaweedfs import REGION, SeaweedFS
from tests.store.test_models import put_version

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
    client = connect(object_store.endpoint, REGION, *keys, direct=True)
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


def jobs_of(engine: Engine) -> list[str]:
    return [job.inputs["metadata"]["name"] for job in engine.created(JOB)]


def name(deployed: Deployed, attempt: int) -> str:
    return f"training-{deployed.run_hash[:12]}-{attempt}"


def test_a_job_that_went_well_stays_as_it_is(up: Up, engine: Engine, deployed: Deployed) -> None:
    up()
    assert engine.the(JOB, "training-job") == deployed.job
    assert engine.the(OTHER_RUNS, "other-runs")["others"] == []
    assert engine.the(MODEL, "model")["seen"] == 1


def test_what_is_published_needs_no_job(up: Up, engine: Engine, deployed: Deployed) -> None:
    """Whoever took the Job away, or whatever it failed of after that."""
    for jobs in ([], [deployed.ended("Failed")]):
        deployed.jobs(*jobs)
        up()
        assert jobs_of(engine) == []
        assert engine.the(OTHER_RUNS, "other-runs")["keep"] == ""
        assert engine.the(MODEL, "model")["seen"] == 1


def test_a_bar_above_what_is_published_is_told_by_a_job(
    up: Up, engine: Engine, deployed: Deployed
) -> None:
    up(minAccuracy="0.95")
    assert jobs_of(engine) == [name(deployed, 2)]
    up(minAccuracy="0.85")
    assert jobs_of(engine) == []


@pytest.mark.parametrize("lost", ["manifest.json", "saved_model.pb"])
def test_a_lost_version_is_published_by_the_next_attempt(
    up: Up, engine: Engine, deployed: Deployed, lost: str
) -> None:
    """Symptom otherwise: "32 unchanged", and the next pod could not fetch the model."""
    delete(deployed.client, deployed.model / "1" / lost)
    up()
    assert jobs_of(engine) == [name(deployed, 2)]
    assert engine.the(OTHER_RUNS, "other-runs")["others"] == [name(deployed, 1)]
    model = engine.the(MODEL, "model")
    assert (model["attempt"], model.get("seen")) == (2, None)
    # While it trains there is nothing that could be lost.
    deployed.jobs(deployed.job)
    up()
    assert jobs_of(engine) == [name(deployed, 1)]


def test_models_that_went_with_their_bucket_are_made_by_the_next_attempt(
    up: Up, engine: Engine, deployed: Deployed
) -> None:
    """Symptom: `up --refresh` made the bucket anew, and the `up` after it trained."""
    url = S3Url(deployed.model.bucket)
    delete_many(
        deployed.client, url.bucket, [one.path for one in list_objects(deployed.client, url)]
    )
    buckets.delete(deployed.client, url.bucket)
    up()
    buckets.create(deployed.client, url.bucket)
    assert jobs_of(engine) == [name(deployed, 2)]


def test_what_moves_to_another_store_needs_no_job(
    up: Up, engine: Engine, deployed: Deployed
) -> None:
    """Symptom: each move waited for room for a Job, which found its model published."""
    up(**EXTERNAL)
    assert jobs_of(engine) == []
    assert engine.the(MODEL, "model")["seen"] == 1


def test_a_store_that_is_away_changes_nothing(up: Up, engine: Engine, deployed: Deployed) -> None:
    told = deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]
    told["storeEndpoint"] = "http://127.0.0.1:9"
    delete(deployed.client, deployed.model / "1/manifest.json")
    up()
    assert engine.the(JOB, "training-job") == deployed.job


def test_a_store_that_is_about_to_start_is_waited_for(
    up: Up, engine: Engine, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: right after the start of a cluster, what is published was not seen."""
    there = deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]
    endpoint = there["storeEndpoint"]
    there["storeEndpoint"] = "http://127.0.0.1:9"
    starting = {"spec": {"replicas": 1}, "status": {}}
    deployed.cluster.answers[f"/apis/apps/v1/namespaces/{STACK}/deployments/object-store"] = (
        starting
    )
    monkeypatch.setattr(pulumi.log, "info", lambda _: None)
    real, waited = connection.connect_when_it_answers, []

    def answers_then(store: Any, seconds: float) -> Client:
        waited.append(seconds)
        there["storeEndpoint"] = endpoint
        return real({**store, "endpoint": endpoint}, seconds)

    monkeypatch.setattr(connection, "connect_when_it_answers", answers_then)
    deployed.jobs()
    up()
    assert waited == [60]
    assert jobs_of(engine) == []
    # Where nothing is to be decided, nobody waits.
    there["storeEndpoint"] = "http://127.0.0.1:9"
    deployed.jobs(deployed.ended())
    up()
    # Nor for one that is not to run.
    starting["spec"]["replicas"] = 0
    deployed.jobs()
    up()
    assert waited == [60]


class TestAPin:
    def test_trains_nothing_and_reads_no_code_and_no_data(
        self, up: Up, engine: Engine, deployed: Deployed, project: Path
    ) -> None:
        (project / "code" / "train.py").unlink()
        up(modelVersion="1", dataDir="gone", codeDir="gone too")
        assert jobs_of(engine) == []
        assert engine.the(MODEL, "model")["wanted_version"] == 1
        assert {r.name for r in engine.resources if r.type.endswith(":Folder")} == {"code", "data"}

    def test_asks_for_no_room_for_what_is_not_trained(
        self, up: Up, engine: Engine, deployed: Deployed
    ) -> None:
        up(modelVersion="1", flavour="gpu-4")
        assert jobs_of(engine) == []

    @pytest.mark.parametrize(("pinned", "is_told"), [("1", True), ("2", False)])
    def test_that_withholds_a_newer_version_says_so(
        self,
        up: Up,
        deployed: Deployed,
        monkeypatch: pytest.MonkeyPatch,
        pinned: str,
        is_told: bool,
    ) -> None:
        put_version(deployed.client, deployed.model, 2, "b" * 64)
        told: list[str] = []
        monkeypatch.setattr(pulumi.log, "info", told.append)
        up(modelVersion=pinned)
        (text,) = told
        assert f"pins version {pinned}: nothing is trained." in text
        assert "'pulumi config rm dlstack:modelVersion', then 'pulumi up'" in text
        assert ("Version 2 is newer, and is not served." in text) is is_told


class TestBeforeItTrains:
    """What `pulumi preview` says, so that nobody is surprised by a training of hours."""

    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        lines: list[str] = []
        monkeypatch.setattr(pulumi.log, "info", lines.append)
        return lines

    def test_it_says_why_and_how_to_keep_the_old_version(
        self, up: Up, engine: Engine, deployed: Deployed, told: list[str], project: Path
    ) -> None:
        provenance = {"code_sha256": "0", "node_count": 1}
        put_version(deployed.client, deployed.model, 2, "b" * 64, provenance=provenance)
        up(nodeCount="2")
        assert jobs_of(engine)
        assert told == [
            "This trains a new version of the model 'mnist':",
            "  since version 2, the code in code changed",
            "  since version 2, dlstack:nodeCount: 1 -> 2",
            "  since version 2, this version of dlstack trains in another way (docs/upgrading.md)",
            "What serves now serves until then. To keep version 2 and train nothing: "
            "'pulumi config set dlstack:modelVersion 2'.",
        ]

    def test_it_is_silent_where_nothing_is_trained(
        self, up: Up, engine: Engine, deployed: Deployed, told: list[str]
    ) -> None:
        up()
        # It trains already, as an earlier `up` has told.
        deployed.jobs(deployed.job)
        delete(deployed.client, deployed.model / "1/manifest.json")
        up()
        assert jobs_of(engine) == [name(deployed, 1)]
        # Published, without a Job.
        put_version(deployed.client, deployed.model, 2, deployed.run_hash)
        deployed.jobs()
        up()
        assert told == []

    def test_a_bar_that_the_published_model_misses_is_told(
        self, up: Up, deployed: Deployed, told: list[str]
    ) -> None:
        up(minAccuracy="0.95")
        (text,) = told
        assert text.startswith("Version 1 of the model 'mnist' misses a bar")

    def test_a_lost_version_is_told(self, up: Up, deployed: Deployed, told: list[str]) -> None:
        put_version(deployed.client, deployed.model, 2, "b" * 64)
        delete(deployed.client, deployed.model / "1/saved_model.pb")
        up()
        assert told[0] == "This trains a new version of the model 'mnist':"
