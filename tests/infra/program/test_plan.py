"""What an `up` trains, given the Jobs in the cluster and the versions in a real bucket."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from infra.cluster import why
from infra.cluster.messages import Trouble
from infra.program import store_start
from infra.resources import connection
from store import buckets
from store.client import Client
from store.errors import Unreachable
from store.objects import delete, delete_many, list_objects
from store.urls import S3Url
from tests.infra.conftest import STACK, Engine, Up
from tests.infra.program.conftest import PLACE, Deployed
from tests.infra.program.test_program import EXTERNAL, JOB, MODEL
from tests.infra.program.test_training import OTHER_RUNS
from tests.store.test_models import put_version


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
    starting = {
        "metadata": {"name": "object-store", "namespace": STACK},
        "spec": {"replicas": 1},
        "status": {},
    }
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
    assert waited == [2]
    assert jobs_of(engine) == []
    # Where nothing is to be decided, nobody waits.
    there["storeEndpoint"] = "http://127.0.0.1:9"
    deployed.jobs(deployed.ended())
    up()
    # Nor for one that is not to run.
    starting["spec"]["replicas"] = 0
    deployed.jobs()
    up()
    assert waited == [2]


@pytest.mark.parametrize(("hopeless", "looks"), [(True, 2), (False, 7)])
def test_a_store_that_can_not_start_is_told_and_not_waited_for(
    up: Up,
    engine: Engine,
    deployed: Deployed,
    monkeypatch: pytest.MonkeyPatch,
    hopeless: bool,
    looks: int,
) -> None:
    """Symptom: each preview waited for a minute, and did not say what for."""
    deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]["storeEndpoint"] = (
        "http://127.0.0.1:9"
    )
    deployed.cluster.answers[f"/apis/apps/v1/namespaces/{STACK}/deployments/object-store"] = {
        "spec": {"replicas": 1}
    }
    seconds, said, asked = [0.0], [], []

    def away(_store: Any, patience: float = 0) -> Client:
        seconds[0] += patience
        raise Unreachable("no")

    def trouble(*_: Any) -> Trouble:
        asked.append(seconds[0])
        return Trouble("its volume is gone", "Find it.", hopeless)

    monkeypatch.setattr(store_start, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(connection, "connect_when_it_answers", away)
    monkeypatch.setattr(why, "deployment", trouble)
    monkeypatch.setattr(pulumi.log, "info", lambda _: None)
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    deployed.jobs()
    up()
    assert said == ["The object store does not start: its volume is gone. Find it."]
    assert len(asked) == looks and seconds[0] <= 12
    assert jobs_of(engine) != []


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

    def test_a_pin_of_what_is_not_published_is_refused_by_the_preview(
        self, up: Up, deployed: Deployed
    ) -> None:
        with pytest.raises(pulumi.RunError, match="Version 9 .* is not published. Set dlstack:mo"):
            up(modelVersion="9")

    def test_a_pinned_version_that_serves_goes_on_to_though_its_bucket_lost_it(
        self, up: Up, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []
        monkeypatch.setattr(pulumi.log, "warn", told.append)
        served = {"data": {"model": "mnist", "version": "1"}}
        deployed.cluster.answers[f"{PLACE}/configmaps/served"] = served
        delete(deployed.client, deployed.model / "1/saved_model.pb")
        up(modelVersion="1")
        assert "It serves on from what its pods have. Version 1 of" in told[0]


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

    def test_a_new_name_is_told_with_the_names_that_there_are(
        self, up: Up, engine: Engine, deployed: Deployed, told: list[str]
    ) -> None:
        """Symptom: a training of hours began without a word after a slip in `modelName`."""
        up(modelName="minst")
        assert jobs_of(engine)
        (line,) = told
        assert line.startswith("This trains the first version of the model 'minst': the stack has")
        assert "published only 'mnist' so far." in line and "set dlstack:modelName" in line

    def test_of_many_names_the_rest_is_counted(
        self, up: Up, deployed: Deployed, told: list[str]
    ) -> None:
        """Symptom: "published only" three of five models, not among them the one that serves."""
        for model in ("a", "b", "c", "d"):
            folder = S3Url(deployed.model.bucket, f"models/{model}")
            put_version(deployed.client, folder, 1, "b" * 64)
        up(modelName="minst")
        (line,) = told
        assert "published only 'a', 'b', 'c' and 2 more so far." in line

    def test_another_boot_file_may_be_another_model(
        self, up: Up, deployed: Deployed, told: list[str]
    ) -> None:
        """Symptom: prices of houses were published as version 2 of `mnist`."""
        put_version(deployed.client, deployed.model, 2, "b" * 64, provenance={"boot_file": "a.py"})
        up(nodeCount="2")
        assert any("pulumi config set dlstack:modelName NAME" in line for line in told)

    def test_what_is_not_to_be_served_is_told_so(
        self, up: Up, deployed: Deployed, told: list[str]
    ) -> None:
        up(deploy="false", nodeCount="2")
        assert told[-1].startswith("It is published and not served: dlstack:deploy is false.")

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
