"""The prediction service in the resource graph; TLS and the token: test_access.py."""

import re
import socket
import subprocess
from typing import Any

import pulumi
import pytest

from infra.cluster import names
from tests.infra.conftest import STACK, Engine, FakeCluster, Up, node
from tests.infra.program.test_program import (
    DEPLOYMENT,
    MODEL,
    SERVICE,
    containers,
)
from tests.ports import held_port

AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
BUDGET = "kubernetes:policy/v1:PodDisruptionBudget"


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
    outputs = up(serviceType="LoadBalancer", insecure="true")
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
    before = {
        one["name"]: one["lifecycle"]["preStop"]["exec"]["command"] for one in pod["containers"]
    }
    assert before["gateway"] == ["sleep", "15"]
    assert before["server"][2].startswith("sleep 15; ")
    assert pod["terminationGracePeriodSeconds"] == 15 + 2 * 40 + 10


@pytest.mark.parametrize("engine_name", ["embedded", "tensorflow-serving"])
def test_what_runs_before_the_server_ends_is_a_script(
    up: Up, engine: Engine, engine_name: str
) -> None:
    """With nothing to wait for it ends at once; of a kept connection it waits for the end."""
    up(servingEngine=engine_name, pauseSeconds="0", drainSeconds="60")
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    script = server["lifecycle"]["preStop"]["exec"]["command"][2]
    for port, number in {"8080": "page", "2134": "grpc", "2135": "rest"}.items():
        assert (port in script) == (number == "page" or engine_name == "tensorflow-serving")
    for number in (8080, 8500, 8501):
        # The other two are closed.
        with socket.create_server(("127.0.0.1", 0)) as listener, held_port("127.0.0.1") as closed:
            at = dict.fromkeys((8080, 8500, 8501), closed)
            at[number] = listener.getsockname()[1]
            words = {"8080": str(at[8080]), "2134": f"{at[8500]:04X}", "2135": f"{at[8501]:04X}"}
            ours = re.sub("|".join(words), lambda found, words=words: words[found[0]], script)
            with socket.create_connection(listener.getsockname()) as kept:
                # Not for longer than it may, whoever stays.
                soon = ours.replace("SECONDS + 60", "SECONDS + 1")
                assert soon != ours and subprocess.run(["bash", "-c", soon]).returncode == 0
                with subprocess.Popen(["bash", "-c", ours]) as process:
                    if number == 8080 or engine_name == "tensorflow-serving":
                        with pytest.raises(subprocess.TimeoutExpired):
                            process.wait(1)
                        kept.close()
                        listener.close()
                    assert process.wait(50) == 0


@pytest.mark.parametrize(
    ("replicas", "replicas_at_first", "budget", "autoscaler"),
    [
        (None, 1, False, None),
        ("3", 3, True, None),
        ('{"max": 4}', 1, False, (1, 4, 70)),
        ('{"min": 2, "max": 5, "cpu": 200}', 2, True, (2, 5, 200)),
    ],
)
def test_pods_are_as_many_as_are_wanted_and_go_one_at_a_time(
    up: Up,
    engine: Engine,
    replicas: str | None,
    replicas_at_first: int,
    budget: bool,
    autoscaler: tuple[int, int, int] | None,
) -> None:
    """A lone pod has no budget: its node could never be emptied."""
    up(servingReplicas=replicas)
    assert engine.the(DEPLOYMENT, "prediction-server")["spec"]["replicas"] == replicas_at_first
    assert [one.inputs["spec"]["maxUnavailable"] for one in engine.created(BUDGET)] == [1] * budget
    found = [one.inputs["spec"] for one in engine.created(AUTOSCALER)]
    assert [
        (
            *(one["minReplicas"], one["maxReplicas"]),
            one["metrics"][0]["containerResource"]["target"]["averageUtilization"],
        )
        for one in found
    ] == ([autoscaler] if autoscaler else [])


def test_a_new_scale_changes_the_deployment_whatever_number_it_has(up: Up, engine: Engine) -> None:
    """Symptom: after an autoscaler was removed its number of pods stayed: the state had 1 before,
    and 1 after."""
    seen = set()
    for replicas in (None, '{"min": 1, "max": 4}', '{"min": 1, "max": 4, "cpu": 50}'):
        up(servingReplicas=replicas)
        metadata = engine.the(DEPLOYMENT, "prediction-server")["metadata"]
        seen.add(metadata["annotations"]["dlstack.dev/scale"])
    assert len(seen) == 3


def test_an_up_waits_for_the_number_of_pods_that_the_stack_says(
    up: Up, engine: Engine, fake_cluster: FakeCluster
) -> None:
    """Not where an autoscaler of others does."""

    def waited_for() -> Any:
        (found,) = [
            one.inputs
            for one in engine.created("pulumi-python:dynamic/apps:RollOut")
            if one.name == "prediction-roll-out"
        ]
        return found.get("scale")

    own = names.labels("prediction", STACK)
    up(servingReplicas="3")
    assert waited_for() == {"least": 3, "autoscaler": own}
    up(servingReplicas='{"min": 2, "max": 2}')
    assert waited_for() == {"least": 2, "most": 2, "autoscaler": own}
    path = f"/apis/autoscaling/v2/namespaces/{STACK}/horizontalpodautoscalers"
    fake_cluster.answers[path] = {"items": [autoscaler_of("keda-hpa-prediction")]}
    up(servingReplicas="3")
    assert waited_for() is None


def autoscaler_of(name: str, **labels: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "prediction"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"scaleTargetRef": target}}


def test_an_autoscaler_of_others_is_left_alone_and_never_doubled(
    up: Up, fake_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", said.append)
    path = f"/apis/autoscaling/v2/namespaces/{STACK}/horizontalpodautoscalers"
    fake_cluster.answers[path] = {"items": [autoscaler_of("keda-hpa-prediction")]}
    up(servingReplicas="3")
    assert [line for line in said if "'keda-hpa-prediction' says how many pods" in line]
    with pytest.raises(pulumi.RunError, match="'keda-hpa-prediction'.*Remove one of the two"):
        up(servingReplicas='{"min": 1, "max": 4}')
    own = names.labels("prediction", STACK)
    fake_cluster.answers[path] = {"items": [autoscaler_of("prediction", **own)]}
    up(servingReplicas='{"min": 1, "max": 4}')


def test_a_lone_gpu_that_serves_does_not_block_its_own_roll_out(
    up: Up, engine: Engine, fake_cluster: FakeCluster
) -> None:
    """Symptom: the new pod waited for the GPU of the old one, which waited for the new pod."""

    def surge(gpus: str, **values: str) -> tuple[int, int]:
        fake_cluster.nodes(node("gpu", "64", "999Gi", resources={"nvidia.com/gpu": gpus}))
        up(servingFlavour="gpu-1", **values)
        rolling = engine.the(DEPLOYMENT, "prediction-server")["spec"]["strategy"]["rollingUpdate"]
        return rolling["maxSurge"], rolling["maxUnavailable"]

    assert surge("1") == (0, 1)
    assert surge("2") == (1, 0)
    assert surge("2", servingReplicas="2") == (0, 1)
    assert surge("2", servingReplicas='{"min": 2, "max": 4}') == (0, 1)
    # Symptom otherwise: the next `up` changed the Deployment, for as long as a node was cordoned.
    away = node("away", "64", "999Gi", resources={"nvidia.com/gpu": "1"})
    away["spec"]["unschedulable"] = True
    gpu = {"nvidia.com/gpu": "1"}
    fake_cluster.nodes(node("gpu", "64", "999Gi", resources=gpu), away)
    up(servingFlavour="gpu-1")
    rolling = engine.the(DEPLOYMENT, "prediction-server")["spec"]["strategy"]["rollingUpdate"]
    assert rolling["maxSurge"] == 1
    assert surge("1", servingSurge="always") == (1, 0)
    assert surge("2", servingSurge="never") == (0, 1)


def test_a_big_model_may_take_as_long_to_load_as_is_said(up: Up, engine: Engine) -> None:
    """Symptom: what took more than 110 s to load was started anew for ever."""
    up(loadTimeout="1h")
    deployment = engine.the(DEPLOYMENT, "prediction-server")
    startup = containers(deployment)["server"]["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == 3600
    assert deployment["spec"]["progressDeadlineSeconds"] == 3600 - 30
    (waiting,) = [
        one
        for one in engine.created("pulumi-python:dynamic/apps:RollOut")
        if one.name == "prediction-roll-out"
    ]
    assert waiting.inputs["seconds"] == 3600


def test_pods_go_to_different_nodes(up: Up, engine: Engine) -> None:
    up()
    pod = engine.the(DEPLOYMENT, "prediction-server")["spec"]["template"]["spec"]
    assert {
        one["topologyKey"]: one["whenUnsatisfiable"] for one in pod["topologySpreadConstraints"]
    } == {
        "kubernetes.io/hostname": "ScheduleAnyway",
    }


def test_connections_to_the_official_server_end_before_it_does(up: Up, engine: Engine) -> None:
    """It ends at once on SIGTERM, and tells no client before."""
    up(servingEngine="tensorflow-serving", drainSeconds="100")
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    (flag,) = [word for word in server["command"] if "channel_arguments" in word]
    assert "grpc.max_connection_age_ms=75000," in flag
    assert not [word for word in server["command"] if "drain_seconds" in word]


def test_a_pod_that_is_slow_under_load_is_not_taken_out(up: Up, engine: Engine) -> None:
    """Symptom: a busy machine's pods were not ready for a moment, all of them, and a request met
    none."""
    up()
    for container in containers(engine.the(DEPLOYMENT, "prediction-server")).values():
        if probe := container.get("readinessProbe"):
            assert probe["timeoutSeconds"] * probe["failureThreshold"] >= 30


class TestKeptVersions:
    def test_nothing_goes_unless_it_is_configured(self, up: Up, engine: Engine) -> None:
        up()
        assert not [one for one in engine.resources if one.type.endswith(":Retention")]

    def test_it_knows_what_serves_and_what_the_run_reads(self, up: Up, engine: Engine) -> None:
        up(keepVersions="4")
        kept = engine.the("pulumi-python:dynamic/models:Retention", "retention")
        assert (kept["keep"], kept["model_name"]) == (4, "mnist")
        assert kept["versions"] == [{"model_name": "mnist", "version": 3}]
        assert kept["buckets"] == ["dlstack-dev-output", "dlstack-dev-data"]
        folders = {
            engine.the("pulumi-python:dynamic/s3:Folder", name)["digest"]
            for name in ("code", "data")
        }
        assert {url.rpartition("/")[2] for url in kept["folders"]} == folders
