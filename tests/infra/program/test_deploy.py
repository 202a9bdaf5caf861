"""`dlstack:deploy`: what is published and what serves, when they are not the same."""

from typing import Any

import pulumi
import pytest

from tests.infra.conftest import RUN_HASH, STACK, Engine, FakeCluster, Up
from tests.infra.program.test_program import DEPLOYMENT, JOB, MODEL, SERVICE, containers

SERVED = f"/api/v1/namespaces/{STACK}/configmaps/served"
PREDICTION = f"/apis/apps/v1/namespaces/{STACK}/deployments/prediction"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"


def sync(engine: Engine) -> list[str]:
    return list(containers(engine.the(DEPLOYMENT, "prediction-server"))["sync"]["command"])


def names(engine: Engine, type_: str) -> list[str]:
    return [resource.name for resource in engine.created(type_)]


def test_what_serves_is_noted_down_for_the_agent_and_the_next_up(up: Up, engine: Engine) -> None:
    up(modelName="digits")
    data = engine.the(CONFIG_MAP, "prediction-served")["data"]
    assert data == {"model": "digits", "version": "3"}


class TestWithoutDeploying:
    def test_a_first_up_trains_and_makes_no_prediction_service(
        self, up: Up, engine: Engine
    ) -> None:
        outputs = up(deploy="false")
        assert names(engine, JOB) == ["training-job"]
        assert names(engine, MODEL) == ["model"]
        assert "prediction-server" not in names(engine, DEPLOYMENT)
        assert not [name for name in names(engine, SERVICE) if "prediction" in name]
        assert {"host", "grpcPort", "restUrl", "pageUrl", "modelVersion"}.isdisjoint(outputs)
        assert outputs["published"] == {
            "model": "mnist",
            "version": 3,
            "runHash": RUN_HASH,
            "metrics": {"accuracy": 0.99},
            "state": "Version 3 is published and not served: pulumi config set dlstack:deploy true",
        }

    def test_it_asks_for_no_room_and_no_certificate_of_what_is_not_served(
        self, up: Up, engine: Engine
    ) -> None:
        up(deploy="false", servingFlavour="gpu-4", tls="true")
        assert not [name for name in names(engine, CONFIG_MAP) if "served" in name]
        assert not [one.name for one in engine.resources if one.type.endswith("Certificate")]

    @pytest.mark.parametrize("model", ["mnist", "houses"])
    def test_what_serves_stays_with_its_version_and_its_name(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster, model: str
    ) -> None:
        up(modelName=model)
        before = engine.created(SERVICE)
        fake_cluster.answers[SERVED] = {"data": {"model": model, "version": "2"}}
        outputs = up(deploy="false")
        assert sync(engine)[3:] == [
            f"--source_url=s3://dlstack-dev-output/models/{model}",
            "--model_version=2",
            f"--target_dir=/models/{model}",
        ]
        assert engine.created(SERVICE) == before
        assert (outputs["modelName"], outputs["modelVersion"]) == (model, 2)
        assert engine.the(MODEL, "served-model")["wanted_version"] == 2
        # What the run publishes is looked for as ever.
        assert engine.the(MODEL, "model").get("wanted_version") is None
        assert "not served" in outputs["published"]["state"]

    def test_what_serves_may_be_what_was_published_last(
        self, up: Up, fake_cluster: FakeCluster
    ) -> None:
        fake_cluster.answers[SERVED] = {"data": {"model": "mnist", "version": "3"}}
        assert up(deploy="false")["published"]["state"] == "Version 3 is served"

    @pytest.mark.parametrize(("ready", "stays"), [(1, True), (0, False)])
    def test_a_service_that_an_earlier_dlstack_made_stays_if_it_answers(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster, ready: int, stays: bool
    ) -> None:
        """It has no note of what serves: its Deployment says it."""
        up(modelName="houses")
        made: dict[str, Any] = engine.the(DEPLOYMENT, "prediction-server")
        fake_cluster.answers[PREDICTION] = made | {"status": {"readyReplicas": ready}}
        up(deploy="false")
        assert ("prediction-server" in names(engine, DEPLOYMENT)) is stays
        if stays:
            assert "--target_dir=/models/houses" in sync(engine)

    def test_deploying_later_needs_nothing_else(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        """The Job and the model that it published are the same resources, with the same inputs."""
        up(deploy="false")
        job, model = engine.the(JOB, "training-job"), engine.the(MODEL, "model")
        up(deploy="true")
        assert (engine.the(JOB, "training-job"), engine.the(MODEL, "model")) == (job, model)
        assert "--model_version=3" in sync(engine)


def test_neither_true_nor_false_is_refused(up: Up) -> None:
    with pytest.raises(pulumi.RunError, match="dlstack:deploy 'no' is neither"):
        up(deploy="no")
