"""The resource graph: what is declared, for which settings. Providers are tested elsewhere."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc

from tests.infra.conftest import RUN_HASH, STACK, Engine, FakeCluster, Up, node

JOB = "kubernetes:batch/v1:Job"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SERVICE = "kubernetes:core/v1:Service"
SECRET = "kubernetes:core/v1:Secret"
PACKAGE = "pulumi-python:dynamic/packages:Package"
BUCKET = "pulumi-python:dynamic/s3:Bucket"
FOLDER = "pulumi-python:dynamic/s3:Folder"
MODEL = "pulumi-python:dynamic/models:PublishedModel"
CREDENTIALS = "pulumi-python:dynamic/credentials:GeneratedCredentials"

EXTERNAL = {
    "s3Endpoint": "https://s3.example.com/",
    "s3AccessKey": "ACCESS",
    "s3SecretKey": "hunter2",
}


def in_git(folder: Path, *words: str) -> str:
    """Run Git in `folder`, as somebody with an empty configuration; return what it prints."""
    who = [word for key in ("name", "email") for word in ("-c", f"user.{key}=tester")]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def containers(inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec = inputs["spec"]["template"]["spec"]
    return {c["name"]: c for c in [*spec.get("initContainers", []), *spec["containers"]]}


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def pod_templates(engine: Engine) -> list[dict[str, Any]]:
    return [r.inputs["spec"]["template"] for r in engine.created(DEPLOYMENT) + engine.created(JOB)]


def test_outputs_are_those_of_the_contract(up: Up) -> None:
    outputs = up(host="203.0.113.1", grpcNodePort="31670")
    assert outputs == {
        "host": "203.0.113.1",
        "grpcPort": 31670,
        "restUrl": "http://203.0.113.1:30501",
        "tensorboardUrl": "http://203.0.113.1:30006",
        "pageUrl": "http://203.0.113.1:30080",
        "modelName": "mnist",
        "modelVersion": 3,
        "runHash": RUN_HASH,
        "metrics": {"accuracy": 0.99},
        "provenance": {"commit": "c" * 40},
        "tls": False,
    }


def test_everything_lies_in_one_namespace_that_enforces_restricted_pods(
    up: Up, engine: Engine
) -> None:
    up(namespace="mine")
    namespace = engine.the("kubernetes:core/v1:Namespace", "namespace")
    assert namespace["metadata"]["name"] == "mine"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for resource in engine.resources:
        if resource.type.startswith("kubernetes:") and not resource.type.endswith(":Namespace"):
            assert resource.inputs["metadata"]["namespace"] == "mine", resource.name


def test_every_pod_fulfils_the_restricted_standard(up: Up, engine: Engine) -> None:
    up()
    for template in pod_templates(engine):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_volume_mounts_name_volumes_of_their_pod(up: Up, engine: Engine) -> None:
    up()
    for template in pod_templates(engine):
        spec = template["spec"]
        volumes = [volume["name"] for volume in spec["volumes"]]
        assert len(volumes) == len(set(volumes))
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)


def test_selectors_find_the_pods_of_their_deployment_only(up: Up, engine: Engine) -> None:
    up()
    labels = [template["metadata"]["labels"] for template in pod_templates(engine)]
    for resource in [*engine.created(DEPLOYMENT), *engine.created(SERVICE)]:
        selector = resource.inputs["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        assert sum(selector.items() <= pod.items() for pod in labels) == 1, resource.name


class TestTrainingJob:
    def test_its_command_is_that_of_the_contract(self, up: Up, engine: Engine) -> None:
        up(runParameters='{"model": "cnn", "epochs": 3, "shuffle": true}', minAccuracy="0.9")
        job = engine.the(JOB, "training-job")
        run_hash = job["spec"]["template"]["metadata"]["annotations"]["dlstack.dev/run-hash"]
        command = containers(job)["training"]["command"]
        assert command[:3] == ["python3", "-m", "training"]
        assert f"--train_url=s3://dlstack-dev-output/runs/{run_hash[:12]}" in command
        assert "--model_url=s3://dlstack-dev-output/models/mnist" in command
        assert "--code_url=s3://dlstack-dev-data/code" in command
        assert "--data_url=s3://dlstack-dev-data/data" in command
        assert f"--run_hash={run_hash}" in command
        assert "--min_accuracy=0.9" in command
        assert command[command.index("--") :] == [
            "--",
            "--epochs=3",
            "--model=cnn",
            "--shuffle=true",
        ]

    def test_it_has_no_fixed_name_and_is_never_removed_by_kubernetes(
        self, up: Up, engine: Engine
    ) -> None:
        """Else the next run collides with the old one, or the next `up` trains again."""
        up()
        job = engine.the(JOB, "training-job")
        assert "name" not in job["metadata"]
        assert "ttlSecondsAfterFinished" not in job["spec"]

    def test_its_last_log_lines_reach_pulumi(self, up: Up, engine: Engine) -> None:
        up()
        container = containers(engine.the(JOB, "training-job"))["training"]
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"

    def test_timeout_ends_it(self, up: Up, engine: Engine) -> None:
        up(timeout="1h30m")
        assert engine.the(JOB, "training-job")["spec"]["activeDeadlineSeconds"] == 5400

    def test_gpus_are_asked_for_and_their_taint_tolerated(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        fake_cluster.nodes(node("gpus", "32", "512Gi", resources={"nvidia.com/gpu": "4"}))
        up(flavour="gpu-2")
        job = engine.the(JOB, "training-job")
        assert containers(job)["training"]["resources"]["limits"]["nvidia.com/gpu"] == "2"
        assert job["spec"]["template"]["spec"]["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists"}
        ]

    def test_own_flavours_reach_job_and_server(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        labels = {"pool": "amd"}
        fake_cluster.nodes(node("a", "32", "512Gi", labels=labels, resources={"amd.com/gpu": "4"}))
        amd = {
            "cpu": 4,
            "memory": "8Gi",
            "gpus": 2,
            "gpuResource": "amd.com/gpu",
            "nodeSelector": labels,
            "tolerations": [{"key": "team", "value": "a", "effect": "NoSchedule"}],
        }
        up(flavours=json.dumps({"amd-2": amd}), flavour="amd-2", servingFlavour="amd-2")
        for type_, name, container in (
            (JOB, "training-job", "training"),
            (DEPLOYMENT, "prediction-server", "server"),
        ):
            inputs = engine.the(type_, name)
            spec = inputs["spec"]["template"]["spec"]
            assert spec["nodeSelector"] == labels
            assert spec["tolerations"] == [
                {"key": "amd.com/gpu", "operator": "Exists"},
                {"key": "team", "operator": "Equal", "value": "a", "effect": "NoSchedule"},
            ]
            assert containers(inputs)[container]["resources"]["limits"]["amd.com/gpu"] == "2"

    def test_what_is_a_failure_counts_and_a_deleted_pod_is_none(
        self, up: Up, engine: Engine
    ) -> None:
        up(retries="3")
        spec = engine.the(JOB, "training-job")["spec"]
        assert spec["backoffLimit"] == 3
        (by_status, by_condition) = spec["podFailurePolicy"]["rules"]
        assert by_status["action"] == by_condition["action"] == "Ignore"
        assert by_status["onExitCodes"] == {
            "containerName": "training",
            "operator": "In",
            "values": [143],
        }
        assert by_condition["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]

    def test_any_metric_can_have_a_bar(self, up: Up, engine: Engine) -> None:
        up(minMetrics='{"f1": 0.8, "top-5": "0.95"}', maxMetrics='{"loss": 0.3}')
        command = containers(engine.the(JOB, "training-job"))["training"]["command"]
        bars = [word for word in command if word.startswith(("--min_", "--max_"))]
        assert bars == ["--min_metric=f1:0.8", "--min_metric=top-5:0.95", "--max_metric=loss:0.3"]

    def test_parameters_arrive_as_they_are_whatever_kubernetes_reads_into_them(
        self, up: Up, engine: Engine
    ) -> None:
        """Symptom: `$(HOME)` in a parameter became `/tmp`, and `$$` lost a dollar."""
        up(runParameters='{"pattern": "^a$$|$(HOME)"}')
        command = containers(engine.the(JOB, "training-job"))["training"]["command"]
        assert command[-1] == "--pattern=^a$$$$|$$(HOME)"

    def test_the_commit_is_told_beside_the_command_line(
        self, up: Up, engine: Engine, project: Path
    ) -> None:
        up()
        job = engine.the(JOB, "training-job")
        assert "dlstack.dev/commit" not in job["spec"]["template"]["metadata"]["annotations"]
        assert "--commit=$(GIT_COMMIT)" not in containers(job)["training"]["command"]
        in_git(project, "init", "--quiet")
        in_git(project, "add", "code")
        in_git(project, "commit", "--quiet", "--message=first")
        head = in_git(project, "rev-parse", "HEAD")
        up()
        job = engine.the(JOB, "training-job")
        template = job["spec"]["template"]
        assert template["metadata"]["annotations"]["dlstack.dev/commit"] == head
        training = containers(job)["training"]
        assert "--commit=$(GIT_COMMIT)" in training["command"]
        assert environment(training)["GIT_COMMIT"]["fieldRef"] == {
            "fieldPath": "metadata.annotations['dlstack.dev/commit']"
        }

    def test_a_new_commit_of_the_same_code_changes_nothing(
        self, up: Up, engine: Engine, project: Path, fake_cluster: FakeCluster
    ) -> None:
        in_git(project, "init", "--quiet")
        in_git(project, "add", ".")
        in_git(project, "commit", "--quiet", "--message=first")
        up()
        job = engine.the(JOB, "training-job")
        jobs = f"/apis/batch/v1/namespaces/{STACK}/jobs"
        fake_cluster.answers[jobs] = {"items": [job]}
        in_git(project, "commit", "--quiet", "--allow-empty", "--message=second")
        up()
        assert engine.the(JOB, "training-job") == job

    @pytest.mark.parametrize(
        "changes",
        [
            {"runParameters": '{"epochs": 2}'},
            {"image": "registry.example/training:2"},
            {"bootFile": "other.py"},
        ],
    )
    def test_what_changes_the_model_changes_the_run_hash(
        self, up: Up, engine: Engine, project: Path, changes: dict[str, str]
    ) -> None:
        (project / "code" / "other.py").write_text("")
        assert _run_hash(up, engine) != _run_hash(up, engine, **changes)

    @pytest.mark.parametrize(
        "changes",
        [
            {"timeout": "2h"},
            {"retries": "2"},
            {"minMetrics": '{"f1": 0.9}'},
            {"servingReplicas": "2"},
            {"servingBatching": "true"},
            {"serviceType": "ClusterIP"},
        ],
    )
    def test_what_does_not_change_the_model_leaves_the_run_hash(
        self, up: Up, engine: Engine, changes: dict[str, str]
    ) -> None:
        assert _run_hash(up, engine) == _run_hash(up, engine, **changes)

    @pytest.mark.parametrize("file", ["code/train.py", "data/images.gz"])
    def test_changed_files_change_the_run_hash(
        self, up: Up, engine: Engine, project: Path, file: str
    ) -> None:
        before = _run_hash(up, engine)
        (project / file).write_text("changed")
        assert _run_hash(up, engine) != before

    def test_a_mended_store_reaches_the_pods_and_leaves_the_run_hash(
        self, up: Up, engine: Engine, project: Path
    ) -> None:
        """It decides nothing of the model: what is published is not trained again."""
        before = _run_hash(up, engine)
        shipped = engine.the(PACKAGE, "store")["files"]
        (project / "store" / "__init__.py").write_text("mended")
        assert _run_hash(up, engine) == before
        assert engine.the(PACKAGE, "store")["files"] != shipped


def _run_hash(up: Up, engine: Engine, **values: str) -> str:
    up(**values)
    template = engine.the(JOB, "training-job")["spec"]["template"]
    return str(template["metadata"]["annotations"]["dlstack.dev/run-hash"])


class TestSeveralNodes:
    def test_make_an_indexed_job_whose_pods_have_names(self, up: Up, engine: Engine) -> None:
        up(nodeCount="2")
        job = engine.the(JOB, "training-job")
        spec = job["spec"]
        assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == (
            "Indexed",
            2,
            2,
        )
        service = engine.the(SERVICE, "training-workers")
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True
        policy = engine.the(
            "kubernetes:networking.k8s.io/v1:NetworkPolicy", "training-workers-only"
        )
        pods = policy["spec"]["podSelector"]
        assert pods["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
        assert policy["spec"]["ingress"] == [{"from": [{"podSelector": pods}]}]
        assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
        training = containers(job)["training"]
        assert "--workers=2" in training["command"]
        assert "--chief=$(JOB_NAME)-0.training-workers:2223" in training["command"]
        assert environment(training)["JOB_NAME"]["fieldRef"] == {
            "fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"
        }

    def test_are_another_run_than_one(self, up: Up, engine: Engine) -> None:
        assert _run_hash(up, engine) != _run_hash(up, engine, nodeCount="2")

    def test_one_needs_none_of_that(self, up: Up, engine: Engine) -> None:
        up()
        assert not [r.name for r in engine.resources if r.name.startswith("training-workers")]
        spec = engine.the(JOB, "training-job")["spec"]
        assert {"completionMode", "completions", "parallelism"}.isdisjoint(spec)
        assert "subdomain" not in spec["template"]["spec"]

    def test_that_the_cluster_has_not_are_refused(self, up: Up, engine: Engine) -> None:
        problem = r"nodeCount is 4, .* room for only 2 pods of dlstack:"
        with pytest.raises(pulumi.RunError, match=problem):
            up(nodeCount="4", flavour="cpu-2")
        assert not engine.resources


class TestObjectStore:
    def test_the_stack_runs_its_own_unless_one_is_configured(self, up: Up, engine: Engine) -> None:
        up()
        secret = engine.the(SECRET, "object-store")
        assert secret["metadata"]["name"] == "object-store"
        assert rpc.unwrap_rpc_secret(secret["stringData"]) == {
            "AWS_ACCESS_KEY_ID": "GENERATED",
            "AWS_SECRET_ACCESS_KEY": "generated-secret",
        }
        assert engine.the(SERVICE, "object-store-service")["spec"]["ports"][0]["port"] == 8333

    def test_pods_use_its_service_and_this_program_its_node_port(
        self, up: Up, engine: Engine
    ) -> None:
        up(host="203.0.113.1")
        training = containers(engine.the(JOB, "training-job"))["training"]
        assert environment(training)["AWS_ENDPOINT_URL_S3"] == (
            f"http://object-store.{STACK}.svc:8333"
        )
        store = engine.the(BUCKET, "data-bucket")["store"]
        assert store["endpoint"] == "http://203.0.113.1:30333"

    def test_a_configured_one_is_used_in_its_place(self, up: Up, engine: Engine) -> None:
        up(**EXTERNAL)
        assert CREDENTIALS not in engine.types()
        assert "object-store-server" not in [r.name for r in engine.created(DEPLOYMENT)]
        assert engine.the(BUCKET, "data-bucket")["store"]["endpoint"] == "https://s3.example.com"
        training = containers(engine.the(JOB, "training-job"))["training"]
        assert environment(training)["AWS_ENDPOINT_URL_S3"] == "https://s3.example.com"

    def test_aws_needs_a_region_only(self, up: Up, engine: Engine) -> None:
        up(s3Region="eu-central-1", s3AccessKey="ACCESS", s3SecretKey="hunter2")
        training = environment(containers(engine.the(JOB, "training-job"))["training"])
        assert training["AWS_REGION"] == "eu-central-1"
        assert "AWS_ENDPOINT_URL_S3" not in training

    def test_credentials_are_in_the_secret_and_nowhere_else(self, up: Up, engine: Engine) -> None:
        up(**EXTERNAL)
        for resource in engine.resources:
            if resource.type != SECRET:
                assert "hunter2" not in json.dumps(resource.inputs), resource.name

    def test_the_processes_that_answer_requests_have_no_credentials(
        self, up: Up, engine: Engine
    ) -> None:
        up()
        pod = containers(engine.the(DEPLOYMENT, "prediction-server"))
        assert "AWS_SECRET_ACCESS_KEY" in environment(pod["sync"])
        assert "AWS_SECRET_ACCESS_KEY" not in environment(pod["server"])
        assert "AWS_SECRET_ACCESS_KEY" not in environment(pod["gateway"])

    def test_models_go_with_the_stack_only_in_its_own_store(self, up: Up, engine: Engine) -> None:
        up()
        assert "models/" in engine.the(BUCKET, "output-bucket")["own_prefixes"]
        up(**EXTERNAL)
        assert engine.the(BUCKET, "output-bucket")["own_prefixes"] == []

    def test_it_can_be_reached_when_the_other_services_can_not(
        self, up: Up, engine: Engine
    ) -> None:
        """The program uploads from outside of the cluster."""
        up(serviceType="ClusterIP")
        assert engine.the(SERVICE, "object-store-service")["spec"]["type"] == "NodePort"
        assert engine.the(SERVICE, "prediction-service")["spec"]["type"] == "ClusterIP"


class TestPredictionService:
    def test_the_version_that_was_found_is_fetched(self, up: Up, engine: Engine) -> None:
        up()
        sync = containers(engine.the(DEPLOYMENT, "prediction-server"))["sync"]
        assert sync["command"] == [
            *("python3", "-m", "serving.sync"),
            "--source_url=s3://dlstack-dev-output/models/mnist",
            "--model_version=3",
            "--target_dir=/models/mnist",
        ]

    def test_a_pinned_version_is_looked_for(self, up: Up, engine: Engine) -> None:
        assert up(modelVersion="1")["modelVersion"] == 1
        assert engine.the(MODEL, "model")["wanted_version"] == 1

    def test_the_old_pods_stay_until_new_ones_are_ready(self, up: Up, engine: Engine) -> None:
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
        self, up: Up, engine: Engine, engine_name: str, program: list[str], image: str
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
        assert server["readinessProbe"]["grpc"] == {"port": 8500}

    @pytest.mark.parametrize("engine_name", ["embedded", "tensorflow-serving"])
    def test_batching_is_off_until_it_is_wanted(
        self, up: Up, engine: Engine, engine_name: str
    ) -> None:
        def flags() -> list[str]:
            return list(
                containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]["command"]
            )

        up(servingEngine=engine_name)
        assert not any("batching" in flag for flag in flags())
        up(servingEngine=engine_name, servingBatching="true")
        assert "--enable_batching=true" in flags()

    def test_load_balancers_give_their_own_address(self, up: Up) -> None:
        outputs = up(serviceType="LoadBalancer")
        assert (outputs["host"], outputs["grpcPort"]) == ("203.0.113.7", 8500)

    def test_services_without_load_balancer_are_not_awaited(self, up: Up, engine: Engine) -> None:
        """While training runs, the prediction Service has no pods to wait for."""
        up()
        for service in engine.created(SERVICE):
            assert service.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_packages_are_where_python_finds_them(up: Up, engine: Engine) -> None:
    up()
    declared = {package.name: package.inputs for package in engine.created(PACKAGE)}
    assert {name: inputs["package"] for name, inputs in declared.items()} == {
        "training": "training",
        "serving": "serving",
        "store": "store",
    }
    # Neither the examples nor what gets their data: the run hash covers what is here.
    assert set(declared["training"]["files"]) == {"training/__init__.py", "training/agent/run.py"}
    job = engine.the(JOB, "training-job")
    volumes = job["spec"]["template"]["spec"]["volumes"]
    (volume,) = [volume for volume in volumes if volume["name"] == "packages"]
    sources = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    assert sources == ["training-0a1b2", "store-0a1b2"]
    container = containers(job)["training"]
    assert (
        environment(container)["PYTHONPATH"] == "/opt/dlstack/training.zip:/opt/dlstack/store.zip"
    )
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "packages"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/opt/dlstack", True)
    deployment = containers(engine.the(DEPLOYMENT, "prediction-server"))
    for name in ("server", "gateway", "sync"):
        search_path = environment(deployment[name])["PYTHONPATH"]
        assert search_path == "/opt/dlstack/serving.zip:/opt/dlstack/store.zip"


class TestRefusedBeforeAnythingIsCreated:
    def test_a_flavour_that_no_node_holds(self, up: Up, engine: Engine) -> None:
        with pytest.raises(pulumi.RunError, match="'one', has 4 cores, 16.0 GiB and 0 GPU"):
            up(flavour="gpu-4")
        assert not engine.resources

    def test_a_namespace_of_somebody_else(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        """`destroy` would take `default` with it."""
        fake_cluster.answers["/api/v1/namespaces/default"] = {"metadata": {"name": "default"}}
        with pytest.raises(pulumi.RunError, match="'default' exists and was not made by this"):
            up(namespace="default")
        assert not engine.resources

    def test_but_not_the_stacks_own_namespace(self, up: Up, fake_cluster: FakeCluster) -> None:
        labels = {"dlstack.dev/stack": STACK}
        fake_cluster.answers[f"/api/v1/namespaces/{STACK}"] = {"metadata": {"labels": labels}}
        assert up()["modelVersion"] == 3


INSIDE = "prediction.dlstack-dev.svc"


@pytest.mark.parametrize(
    ("service_type", "known"),
    [
        ("NodePort", {"host": "10.0.0.3"}),
        ("LoadBalancer", {"grpcPort": 8500}),
        (
            "ClusterIP",
            {
                "host": INSIDE,
                "grpcPort": 8500,
                "restUrl": f"http://{INSIDE}:8501",
                "pageUrl": f"http://{INSIDE}:8080",
                "tensorboardUrl": "http://tensorboard.dlstack-dev.svc:6006",
            },
        ),
    ],
)
def test_a_preview_of_a_new_stack_tells_what_it_knows_and_guesses_nothing(
    engine: Engine,
    up: Up,
    monkeypatch: pytest.MonkeyPatch,
    service_type: str,
    known: dict[str, Any],
) -> None:
    """A Service that isn't there has no node port, and a model that isn't trained no metrics."""
    monkeypatch.setattr(engine, "is_there", False)
    pulumi.runtime.set_mocks(engine, project="dlstack", stack="dev", preview=True)
    assert up(serviceType=service_type) == {"modelName": "mnist", "tls": False, **known}


def test_the_embedded_server_alone_bounds_requests(up: Up, engine: Engine) -> None:
    up()
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert "--max_request_bytes=134217728" in server["command"]


def test_the_official_server_gets_no_flag_that_it_does_not_know(up: Up, engine: Engine) -> None:
    up(servingEngine="tensorflow-serving")
    server = containers(engine.the(DEPLOYMENT, "prediction-server"))["server"]
    assert not [word for word in server["command"] if "max_request_bytes" in word]
