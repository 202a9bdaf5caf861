"""The training run in the resource graph: its Job, and when it is another one."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.components import scraping
from infra.program import training
from tests.infra.conftest import STACK, Engine, FakeCluster, Up, node
from tests.infra.program.test_program import (
    DEPLOYMENT,
    JOB,
    PACKAGE,
    SERVICE,
    containers,
    environment,
    in_git,
    pod_templates,
)


class TestTrainingJob:
    def test_its_command_is_that_of_the_contract(self, up: Up, engine: Engine) -> None:
        up(runParameters='{"model": "cnn", "epochs": 3, "shuffle": true}', minAccuracy="0.9")
        job = engine.the(JOB, "training-job")
        run_hash = job["spec"]["template"]["metadata"]["annotations"]["dlstack.dev/run-hash"]
        command = containers(job)["training"]["command"]
        assert command[:3] == ["python3", "-m", "training"]
        assert f"--train_url=s3://dlstack-dev-output/runs/{run_hash[:12]}" in command
        assert "--model_url=s3://dlstack-dev-output/models/mnist" in command
        [told] = [word for word in command if word.startswith("--provenance=")]
        made_of = json.loads(told.partition("=")[2])
        for part in ("code", "data"):
            url = f"s3://dlstack-dev-data/folders/{made_of[f'{part}_sha256']}"
            assert f"--{part}_url={url}" in command
        assert f"--run_hash={run_hash}" in command
        assert "--min_accuracy=0.9" in command
        assert command[command.index("--") :] == [
            "--",
            "--epochs=3",
            "--model=cnn",
            "--shuffle=true",
        ]

    def test_data_that_is_streamed_is_another_attempt_at_the_same_run(
        self, up: Up, engine: Engine
    ) -> None:
        up()
        copied = engine.the(JOB, "training-job")
        up(dataMode="stream")
        streamed = engine.the(JOB, "training-job")
        ours, theirs = (set(containers(job)["training"]["command"]) for job in (streamed, copied))
        assert (ours - theirs, theirs - ours) == ({"--data_mode=stream"}, set())
        of_run, of_job = "dlstack.dev/run-hash", "dlstack.dev/settings"
        hashes = [
            job["spec"]["template"]["metadata"]["annotations"][of_run] for job in (copied, streamed)
        ]
        assert hashes[0] == hashes[1]
        digests = [job["metadata"]["annotations"][of_job] for job in (copied, streamed)]
        assert digests[0] != digests[1]

    def test_variables_reach_the_boot_file_and_secrets_lie_in_a_secret_alone(
        self, up: Up, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        is_secret = pulumi.runtime.is_config_secret
        monkeypatch.setattr(
            pulumi.runtime, "is_config_secret", lambda key: "secretEnv" in key or is_secret(key)
        )
        up(env='{"LEVEL": "$(HOME)"}', secretEnv='{"TOKEN": "hunter2"}')
        job = engine.the(JOB, "training-job")
        training = containers(job)["training"]
        assert environment(training)["DLSTACK_BOOT_LEVEL"] == "$$(HOME)"
        secrets = [one for one in training["envFrom"] if one.get("prefix")]
        assert secrets == [{"prefix": "DLSTACK_BOOT_", "secretRef": {"name": "training-env"}}]
        others = [one for one in engine.resources if one.name != "training-env"]
        assert "hunter2" not in json.dumps([one.inputs for one in others], default=str)
        run_hash = job["spec"]["template"]["metadata"]["annotations"]["dlstack.dev/run-hash"]
        up(env='{"LEVEL": "$(HOME)"}', secretEnv='{"TOKEN": "rotated"}')
        rotated = engine.the(JOB, "training-job")
        assert rotated == job, "a token that is renewed makes no other Job"
        up(env='{"LEVEL": "info"}', secretEnv='{"TOKEN": "rotated"}')
        other = engine.the(JOB, "training-job")["spec"]["template"]["metadata"]["annotations"]
        assert other["dlstack.dev/run-hash"] != run_hash

    def test_its_pod_has_the_time_to_save_shared_memory_and_a_user(
        self, up: Up, engine: Engine, project: Path
    ) -> None:
        (project / "code" / "run.sh").write_text("#!/bin/sh\n")
        (project / "code" / "run.sh").chmod(0o755)
        up(graceSeconds="120")
        pod = engine.the(JOB, "training-job")["spec"]["template"]["spec"]
        (training,) = pod["containers"]
        assert pod["terminationGracePeriodSeconds"] == 120
        assert "--grace_seconds=120" in training["command"]
        assert "--timeout_seconds=3600" in training["command"]
        assert '--executables=["run.sh"]' in training["command"]
        assert {"name": "shm", "mountPath": "/dev/shm"} in training["volumeMounts"]
        assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4096Mi"}} in pod[
            "volumes"
        ]
        assert environment(training)["USER"] == environment(training)["LOGNAME"] == "dlstack"

    def test_it_is_named_after_its_run_and_never_removed_by_kubernetes(
        self, up: Up, engine: Engine
    ) -> None:
        """Else an `up` after a killed one makes a second one, or the next `up` trains again."""
        run_hash = _run_hash(up, engine)
        job = engine.the(JOB, "training-job")
        assert job["metadata"]["name"] == f"training-{run_hash[:12]}-1"
        assert "ttlSecondsAfterFinished" not in job["spec"]

    def test_its_end_is_awaited_by_us_and_others_are_ended_before_it(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        run_hash = _run_hash(up, engine)
        job = engine.the(JOB, "training-job")
        other = {**job, "metadata": {"name": "training-0123456789ab-3"}}
        jobs = f"/apis/batch/v1/namespaces/{STACK}/jobs"
        fake_cluster.answers[jobs] = {"items": [other, {**job, "status": {}}]}
        other["spec"] = _of_another_run(job["spec"])
        up()
        assert job["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"
        ended = engine.the(OTHER_RUNS, "other-runs")
        assert (ended["keep"], ended["others"]) == (
            f"training-{run_hash[:12]}-1",
            ["training-0123456789ab-3"],
        )
        end = engine.the(RUN_END, "training-end")
        assert (end["job"], end["run"]) == (
            f"training-{run_hash[:12]}-1",
            f"run {run_hash[:12]}, attempt 1",
        )

    def test_others_train_on_until_code_and_data_have_been_sent(
        self, up: Up, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Symptom: a store that was full ended the run that trained, and no other one began."""
        declare, after = training.OtherRuns, list[str]()

        def declared(*args: Any, opts: pulumi.ResourceOptions, **named: Any) -> Any:
            after.extend(one._name for one in opts.depends_on)  # type: ignore[union-attr]
            return declare(*args, opts=opts, **named)

        monkeypatch.setattr(training, "OtherRuns", declared)
        up()
        assert {"code", "data"} <= set(after)

    def test_its_boot_file_must_not_be_left_out(self, up: Up, project: Path) -> None:
        """It would fail in the cluster, minutes later."""
        (project / "code" / ".dlstackignore").write_text("*.py\n!model.py\n")
        (project / "code" / "model.py").touch()
        with pytest.raises(pulumi.RunError, match="bootFile 'train.py' is left out .* '!train.py'"):
            up()

    def test_what_tries_its_model_may_change_without_another_job(
        self, up: Up, engine: Engine, project: Path
    ) -> None:
        """A change of the model server, or of how a model is served, trains nothing anew."""
        up()
        job, checker = engine.the(JOB, "training-job"), engine.the(PACKAGE, "model-check")
        assert "--checker=/opt/dlstack" in containers(job)["training"]["command"]
        assert json.loads(checker["beside"]["model-check.json"]) == {
            "engine": "embedded",
            "op_libraries": "",
            "seconds": 600,
        }
        (project / "serving" / "server.py").write_text("changed = True\n")
        up(servingOpLibraries="/opt/operations")
        changed = engine.the(PACKAGE, "model-check")
        assert engine.the(JOB, "training-job") == job
        assert changed["config_map"] == checker["config_map"] == "model-check"
        assert changed["files"] != checker["files"]
        assert (
            json.loads(changed["beside"]["model-check.json"])["op_libraries"] == "/opt/operations"
        )

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
        assert job["spec"]["template"]["spec"]["tolerations"][:-2] == [
            {"key": "nvidia.com/gpu", "operator": "Exists"}
        ]

    def test_every_pod_leaves_a_lost_node_soon_unless_its_flavour_says_how_long(
        self, up: Up, engine: Engine
    ) -> None:
        """Kubernetes' default is five minutes, in which nothing answers or trains."""
        lost = [
            {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute"}
            for state in ("not-ready", "unreachable")
        ]
        up()
        for template in pod_templates(engine):
            assert template["spec"]["tolerations"] == [
                one | {"tolerationSeconds": 10} for one in lost
            ]
        patient = lost[1] | {"tolerationSeconds": 600}
        one = {"cpu": 1, "memory": "1Gi", "tolerations": [patient]}
        up(flavours=json.dumps({"patient": one}), flavour="patient")
        spec = engine.the(JOB, "training-job")["spec"]["template"]["spec"]
        assert spec["tolerations"] == [patient, lost[0] | {"tolerationSeconds": 10}]

    def test_workers_rather_run_on_different_nodes(self, up: Up, engine: Engine) -> None:
        up(nodeCount="2")
        pod = engine.the(JOB, "training-job")["spec"]["template"]
        (spread,) = pod["spec"]["topologySpreadConstraints"]
        selector = spread.pop("labelSelector")["matchLabels"]
        assert selector.items() <= pod["metadata"]["labels"].items()
        assert spread == {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            # Labels that a Job's pods don't have say nothing.
            "matchLabelKeys": ["pod-template-hash"],
        }

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
            "disk": "50Gi",
            "cpuLimit": 6,
        }
        up(flavours=json.dumps({"amd-2": amd}), flavour="amd-2", servingFlavour="amd-2")
        for type_, name, container in (
            (JOB, "training-job", "training"),
            (DEPLOYMENT, "prediction-server", "server"),
        ):
            inputs = engine.the(type_, name)
            spec = inputs["spec"]["template"]["spec"]
            assert spec["nodeSelector"] == labels | {"kubernetes.io/os": "linux"}
            assert spec["tolerations"][:-2] == [
                {"key": "amd.com/gpu", "operator": "Exists"},
                {"key": "team", "operator": "Equal", "value": "a", "effect": "NoSchedule"},
            ]
            resources = containers(inputs)[container]["resources"]
            assert resources["limits"] == {
                "amd.com/gpu": "2",
                "cpu": "6000m",
                "ephemeral-storage": "51200Mi",
                "memory": "8192Mi",
            }
            assert resources["requests"]["ephemeral-storage"] == "51200Mi"
            disks = [one["emptyDir"] for one in spec["volumes"] if "emptyDir" in one]
            assert {one["sizeLimit"] for one in disks} == {"51200Mi", "8192Mi"} - (
                set() if type_ == JOB else {"8192Mi"}
            )
        # The run ends by itself before its pod is evicted.
        command = containers(engine.the(JOB, "training-job"))["training"]["command"]
        assert f"--disk_bytes={50 * 2**30}" in command

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

    def test_what_serves_is_read_from_a_volume_and_is_no_part_of_the_job(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        """Else every roll-out would make another Job of the same run."""
        up(maxRegression='{"accuracy": 0.005, "loss": "0.1"}')
        job = engine.the(JOB, "training-job")
        training = containers(job)["training"]
        assert [word for word in training["command"] if "served" in word or "crease" in word] == [
            *("--served=/served", "--max_decrease=accuracy:0.005", "--max_increase=loss:0.1"),
        ]
        (volume,) = [v for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "served"]
        assert volume["configMap"] == {"name": "served", "optional": True}
        for version in ("1", "2"):
            fake_cluster.answers[f"/api/v1/namespaces/{STACK}/configmaps/served"] = {
                "data": {"model": "mnist", "version": version}
            }
            up(maxRegression='{"accuracy": 0.005, "loss": "0.1"}')
            assert engine.the(JOB, "training-job") == job
        up()
        assert "served" not in str(engine.the(JOB, "training-job")["spec"]["template"]["spec"])

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
            {"maxRegression": '{"f1": 0.1}'},
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


OTHER_RUNS = "pulumi-python:dynamic/training:OtherRuns"
RUN_END = "pulumi-python:dynamic/training:RunEnd"


def _of_another_run(spec: dict[str, Any]) -> dict[str, Any]:
    annotations = {"dlstack.dev/run-hash": "0123456789ab" + "0" * 52, "dlstack.dev/attempt": "3"}
    return {**spec, "template": {"metadata": {"annotations": annotations}}}


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
        among_themselves, numbers = policy["spec"]["ingress"]
        assert among_themselves == {"from": [{"podSelector": pods}]}
        # Prometheus reads these, wherever it runs.
        assert numbers == {"ports": [{"port": scraping.PORT}]}
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

    def test_that_the_cluster_has_not_are_refused(self, up: Up) -> None:
        problem = r"nodeCount is 4, .* room for only 2 pods of dlstack:"
        with pytest.raises(pulumi.RunError, match=problem):
            up(nodeCount="4", flavour="cpu-2")
