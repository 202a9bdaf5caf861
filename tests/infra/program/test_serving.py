"""The prediction service in the resource graph; TLS and the token: test_access.py."""

import pytest

from tests.infra.conftest import Engine, Up
from tests.infra.program.test_program import (
    DEPLOYMENT,
    MODEL,
    SERVICE,
    containers,
)


def test_the_version_that_was_found_is_fetched(up: Up, engine: Engine) -> None:
    up()
    sync = containers(engine.the(DEPLOYMENT, "prediction-server"))["sync"]
    assert sync["command"] == [
        *("python3", "-m", "serving.sync"),
        "--source_url=s3://dlstack-dev-output/models/mnist",
        "--model_version=3",
        "--target_dir=/models/mnist",
    ]


def test_a_pinned_version_is_looked_for(up: Up, engine: Engine) -> None:
    assert up(modelVersion="1")["modelVersion"] == 1
    assert engine.the(MODEL, "model")["wanted_version"] == 1


def test_the_old_pods_stay_until_new_ones_are_ready(up: Up, engine: Engine) -> None:
    up()
    strategy = engine.the(DEPLOYMENT, "prediction-server")["spec"]["strategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize(
    ("engine_name", "program", "image"),
    [
        ("embedded", ["python3", "-m", "serving"], "registry.example/dlstack:1"),
        ("tensorflow-serving", ["tensorflow_model_server"], "tensorflow/serving:2.19.1"),
    ],
)
def test_both_engines_take_the_same_flags_and_are_probed_alike(
    up: Up, engine: Engine, engine_name: str, program: list[str], image: str
) -> None:
    up(servingEngine=engine_name, modelName="digits")
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert server["image"] == image
    assert server["command"][: len(program) + 4] == [
        *program,
        "--port=8500",
        "--rest_api_port=8501",
        "--model_name=digits",
        "--model_base_path=/models/digits",
    ]
    # A model that can't be loaded ends the container, which says why, and not after 5 minutes.
    assert "--max_num_load_retries=0" in server["command"]
    assert server["readinessProbe"]["grpc"] == {"port": 8500}


@pytest.mark.parametrize("engine_name", ["embedded", "tensorflow-serving"])
def test_batching_is_off_until_it_is_wanted(up: Up, engine: Engine, engine_name: str) -> None:
    def flags() -> list[str]:
        return list(containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]["command"])

    up(servingEngine=engine_name)
    assert not any("batching" in flag for flag in flags())
    up(servingEngine=engine_name, servingBatching="true")
    assert "--enable_batching=true" in flags()


@pytest.mark.parametrize("engine_name", ["embedded", "tensorflow-serving"])
def test_pages_of_other_origins_ask_when_they_may(up: Up, engine: Engine, engine_name: str) -> None:
    def has_cors(container: str) -> bool:
        pod = containers(engine.the(DEPLOYMENT, "prediction-server"))
        return any("enable_cors_support" in word for word in pod[container]["command"])

    up(servingEngine=engine_name)
    assert not has_cors("server") and not has_cors("gateway")
    up(servingEngine=engine_name, servingCors="true")
    assert has_cors("server") and has_cors("gateway")


def test_the_embedded_server_loads_libraries_with_operations(up: Up, engine: Engine) -> None:
    up(servingOpLibraries="/opt/a.so, /opt/b")
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert "--custom_op_libraries=/opt/a.so,/opt/b" in server["command"]


def test_no_caller_replaces_what_the_deployment_serves(up: Up, engine: Engine) -> None:
    up()
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert "--enable_reload_requests=false" in server["command"]


def test_load_balancers_give_their_own_address(up: Up) -> None:
    outputs = up(serviceType="LoadBalancer")
    assert (outputs["host"], outputs["grpcPort"]) == ("203.0.113.7", 8500)


def test_services_without_load_balancer_are_not_awaited(up: Up, engine: Engine) -> None:
    """While training runs, the prediction Service has no pods to wait for."""
    up()
    for service in engine.created(SERVICE):
        assert service.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


def test_the_embedded_server_alone_bounds_requests(up: Up, engine: Engine) -> None:
    up()
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert "--max_request_bytes=134217728" in server["command"]


def test_the_official_server_gets_no_flag_that_it_does_not_know(up: Up, engine: Engine) -> None:
    up(servingEngine="tensorflow-serving")
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    own = ("max_request_bytes", "enable_reload_requests", "custom_op_libraries")
    assert not [word for word in server["command"] if any(flag in word for flag in own)]


def test_a_pod_that_ends_answers_until_nobody_asks_it(up: Up, engine: Engine) -> None:
    """Symptom: a request or two failed at each roll-out, sent by a node that did not know yet."""
    up()
    pod = engine.the(DEPLOYMENT, "prediction-server")["spec"]["template"]["spec"]
    for container in pod["containers"]:
        assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "3"]
    assert pod["terminationGracePeriodSeconds"] == 3 + 5
