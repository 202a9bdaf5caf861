"""The object store and its buckets in the resource graph, and who gets credentials."""

import json

import pytest
from pulumi.runtime import rpc

from tests.infra.conftest import STACK, Engine, Up
from tests.infra.program.test_program import (
    BUCKET,
    CREDENTIALS,
    DEPLOYMENT,
    EXTERNAL,
    JOB,
    SECRET,
    SERVICE,
    containers,
    environment,
)


def test_the_stack_runs_its_own_unless_one_is_configured(up: Up, engine: Engine) -> None:
    up()
    secret = engine.the(SECRET, "object-store")
    assert secret["metadata"]["name"] == "object-store"
    assert rpc.unwrap_rpc_secret(secret["stringData"]) == {
        "AWS_ACCESS_KEY_ID": "GENERATED",
        "AWS_SECRET_ACCESS_KEY": "generated-secret",
    }
    assert engine.the(SERVICE, "object-store-service")["spec"]["ports"][0]["port"] == 8333
    # Seven volumes for each bucket would be all of a small disk; `tests.seaweedfs` has this, too.
    server = containers(engine.the(DEPLOYMENT, "object-store-server"))["object-store"]
    assert environment(server)["WEED_MASTER_VOLUME_GROWTH_COPY_1"] == "1"


def test_pods_use_its_service_and_no_other_address_of_it_is_known(up: Up, engine: Engine) -> None:
    up(host="203.0.113.1")
    training = containers(engine.the(JOB, "training-job"))["training"]
    assert environment(training)["AWS_ENDPOINT_URL_S3"] == (f"http://object-store.{STACK}.svc:8333")
    store = engine.the(BUCKET, "data-bucket")["store"]
    assert store["endpoint"] == f"http://object-store.{STACK}.svc:8333"


def test_a_configured_one_is_used_in_its_place(up: Up, engine: Engine) -> None:
    up(**EXTERNAL)
    assert CREDENTIALS not in engine.types()
    assert "object-store-server" not in [r.name for r in engine.created(DEPLOYMENT)]
    assert engine.the(BUCKET, "data-bucket")["store"]["endpoint"] == "https://s3.example.com"
    training = containers(engine.the(JOB, "training-job"))["training"]
    assert environment(training)["AWS_ENDPOINT_URL_S3"] == "https://s3.example.com"


def test_aws_needs_a_region_only(up: Up, engine: Engine) -> None:
    up(s3Region="eu-central-1", s3AccessKey="ACCESS", s3SecretKey="hunter2")
    training = environment(containers(engine.the(JOB, "training-job"))["training"])
    assert training["AWS_REGION"] == "eu-central-1"
    assert "AWS_ENDPOINT_URL_S3" not in training


def test_what_a_store_has_of_its_own_reaches_pods_by_its_secret(up: Up, engine: Engine) -> None:
    up(**EXTERNAL, s3SessionToken="temporary", s3AddressingStyle="virtual")
    [secret] = [r for r in engine.created(SECRET) if r.name.startswith("object-store-")]
    assert secret.inputs["stringData"]["value"] == {
        "AWS_ACCESS_KEY_ID": "ACCESS",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_SESSION_TOKEN": "temporary",
        "DLSTACK_S3_ADDRESSING_STYLE": "virtual",
    }
    pods = containers(engine.the(JOB, "training-job")) | containers(
        engine.the(DEPLOYMENT, "prediction-server")
    )
    pods |= containers(engine.the(DEPLOYMENT, "tensorboard-server"))
    for name in ("training", "sync", "mirror"):
        assert secret.inputs["stringData"]["value"].keys() <= environment(pods[name]).keys()


def test_without_keys_pods_have_none(up: Up, engine: Engine) -> None:
    up(s3Region="eu-central-1", s3Credentials="environment")
    [secret] = [r for r in engine.created(SECRET) if r.name.startswith("object-store-")]
    assert secret.inputs["stringData"]["value"] == {"DLSTACK_S3_CREDENTIALS": "environment"}
    training = environment(containers(engine.the(JOB, "training-job"))["training"])
    assert "AWS_ACCESS_KEY_ID" not in training


def test_credentials_are_in_the_secret_and_nowhere_else(up: Up, engine: Engine) -> None:
    up(**EXTERNAL)
    for resource in engine.resources:
        if resource.type != SECRET:
            assert "hunter2" not in json.dumps(resource.inputs), resource.name


def test_the_processes_that_answer_requests_have_no_credentials(up: Up, engine: Engine) -> None:
    up()
    pod = containers(engine.the(DEPLOYMENT, "prediction-server"))
    assert "AWS_SECRET_ACCESS_KEY" in environment(pod["sync"])
    assert "AWS_SECRET_ACCESS_KEY" not in environment(pod["server"])
    assert "AWS_SECRET_ACCESS_KEY" not in environment(pod["gateway"])


def test_the_secret_belongs_to_the_store_and_nothing_hangs_on_its_outputs(
    up: Up, engine: Engine
) -> None:
    """While a stack moves, each store's keys are there; and a rotated key replaces nothing."""
    up(**EXTERNAL)
    (secret,) = engine.created(SECRET)
    first = secret.inputs["metadata"]["name"]
    assert first.startswith("object-store-")
    assert engine.the(BUCKET, "data-bucket")["store"]["secret"] == first
    up(**EXTERNAL | {"s3Endpoint": "https://s3.example.org"})
    (secret,) = engine.created(SECRET)
    assert secret.inputs["metadata"]["name"] not in (first, "object-store")
    description = engine.the("kubernetes:core/v1:ConfigMap", "description")["data"]
    assert description["storeSecret"] == secret.inputs["metadata"]["name"]


def test_a_changed_key_reaches_tensorboard_and_leaves_the_others_as_they_are(
    up: Up, engine: Engine
) -> None:
    """Symptom: its mirror said for ever that the store refused the old key."""

    def specs() -> dict[str, str]:
        kinds = (DEPLOYMENT, JOB)
        found = {r.name: r.inputs["spec"] for kind in kinds for r in engine.created(kind)}
        return {name: json.dumps(spec) for name, spec in found.items()}

    up(**EXTERNAL)
    before = specs()
    keys = engine.the(BUCKET, "output-bucket")["keys"]
    assert "hunter2" not in keys and keys in before["tensorboard-server"]
    up(**EXTERNAL | {"s3SecretKey": "hunter3"})
    changed = {name for name, spec in specs().items() if before[name] != spec}
    assert changed == {"tensorboard-server"}
    assert engine.the(BUCKET, "output-bucket")["keys"] != keys
    assert engine.the(BUCKET, "data-bucket")["keys"] == ""


def test_models_go_with_the_stack_only_in_its_own_store(up: Up, engine: Engine) -> None:
    up()
    assert "models/" in engine.the(BUCKET, "output-bucket")["own_prefixes"]
    up(**EXTERNAL)
    assert engine.the(BUCKET, "output-bucket")["own_prefixes"] == []


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer", "ClusterIP"])
def test_it_is_open_to_pods_only_however_the_predictions_are_exposed(
    up: Up, engine: Engine, kind: str
) -> None:
    """Symptom: a public balancer in front of S3 in plain HTTP, with `host` as its address."""
    up(serviceType=kind, insecure="true")
    assert engine.the(SERVICE, "object-store-service")["spec"]["type"] == "ClusterIP"
    assert engine.the(SERVICE, "prediction-service")["spec"]["type"] == kind
