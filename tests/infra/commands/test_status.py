"""What the commands of `python -m infra` say: a cluster's answers, and a bucket in a SeaweedFS."""

import base64
import json
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pulumi
import pytest

from infra.cluster import addresses, api, description, store_disk
from infra.cluster.store_disk import Disk
from infra.commands import choosing, cli, deployed
from tests.infra.commands.test_job_state import RUN, ended, job, pod
from tests.infra.commands.test_runs import record
from tests.infra.conftest import ANY_CLUSTER, CLUSTER, STACK_ID, Engine, FakeCluster, Up
from tests.seaweedfs import REGION, SeaweedFS

PLACE = "/api/v1/namespaces/dlstack-dev"
APPS = "/apis/apps/v1/namespaces/dlstack-dev/deployments"
JOBS = "/apis/batch/v1/namespaces/dlstack-dev/jobs"
OTHER = "b" * 64

Run = Callable[..., tuple[int, str, str]]


def deployment(name: str, version: int = 2, model: str = "mnist", **state: int) -> dict[str, Any]:
    counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": 1, "template": {"spec": serving(version, model)}},
        "status": {"observedGeneration": 1, **counts, **state},
    }


def serving(version: int, model: str = "mnist") -> dict[str, Any]:
    flags = [f"--model_version={version}", f"--target_dir=/models/{model}"]
    return {"initContainers": [{"command": ["python3", *flags]}]}


def prediction_pod(version: int, ready: bool, model: str = "mnist") -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "labels": {"app.kubernetes.io/name": "prediction"}},
        "spec": serving(version, model),
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def service(name: str, type_: str = "NodePort", **ports: int) -> dict[str, Any]:
    numbered = [
        {"name": port, "port": 8000, "nodePort": number} if number else {"name": port, "port": 8000}
        for port, number in ports.items()
    ]
    return {
        "metadata": {"name": name, "namespace": "dlstack-dev"},
        "spec": {"type": type_, "ports": numbered},
    }


@dataclass
class Bucket:
    client: Any
    name: str

    def put(self, key: str, text: str) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=text.encode())

    def publish(self, version: int, run: str, **metrics: float) -> None:
        created = f"2026-03-0{version}T10:00:00+00:00"
        manifest = {"run_hash": run, "metrics": metrics, "created": created, "files": []}
        self.put(f"models/mnist/{version}/manifest.json", json.dumps(manifest))


@pytest.fixture
def bucket(object_store: SeaweedFS) -> Iterator[Bucket]:
    one = Bucket(object_store.client(), f"infra-{uuid4().hex[:12]}")
    one.client.create_bucket(Bucket=one.name)
    yield one
    for entry in one.client.list_objects_v2(Bucket=one.name).get("Contents", []):
        one.client.delete_object(Bucket=one.name, Key=entry["Key"])
    one.client.delete_bucket(Bucket=one.name)
    one.client.close()


@pytest.fixture
def stack(
    fake_cluster: FakeCluster, bucket: Bucket, object_store: SeaweedFS
) -> dict[str, dict[str, Any]]:
    """The cluster's answers of a stack that has trained twice and serves the second version."""
    keys = object_store.environment()
    secret = {
        key: base64.b64encode(keys[key].encode()).decode()
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    told = description.write(
        stack_id=STACK_ID,
        stack="dlstack-dev",
        host="203.0.113.1",
        output_bucket=bucket.name,
        model_name="mnist",
        store_endpoint=object_store.endpoint,
        store_region=REGION,
        store_in_stack=True,
        store_secret="object-store",
        pinned_version=None,
    )
    bucket.publish(1, OTHER, accuracy=0.87)
    bucket.publish(2, RUN, accuracy=0.9927, loss=0.0221)
    bucket.put(f"runs/{OTHER[:12]}/log.txt", "old\n")
    bucket.put(f"runs/{RUN[:12]}/log.txt", "new\n")
    bucket.put("runs/without-a-log/events", "")
    done = job(conditions=(ended("Complete"),))
    fake_cluster.answers |= {
        f"{PLACE}/configmaps/stack": {"data": told},
        f"{PLACE}/secrets/object-store": {"data": secret},
        JOBS: {"items": [done]},
        f"{JOBS}/training-1": done,
        f"{PLACE}/pods": {"items": [pod(terminated={"exitCode": 0}), prediction_pod(2, True)]},
        f"{PLACE}/pods?labelSelector=job-name=training-1": {"items": []},
        APPS: {"items": [deployment(n) for n in ("prediction", "tensorboard", "object-store")]},
        f"{PLACE}/services": {
            "items": [
                service("prediction", grpc=31670, rest=30800, page=32127),
                service("tensorboard", http=32307),
            ]
        },
    }
    return fake_cluster.answers


def program(folder: Path, text: str) -> None:
    """Make `text` the shell script that `pulumi` is."""
    file = folder / "pulumi"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """`python -m infra` in the folder of a project whose stack `dev` is selected."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", '[ "$2" = --show-name ] && echo dev || echo {}')
    (tmp_path / "Pulumi.yaml").write_text("name: dlstack\nruntime: python\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    # Of tables; one test has its own.
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        result = cli.main(words)
        output, errors = capfdbinary.readouterr()
        return result, output.decode(), errors.decode()

    return call


@pytest.mark.usefixtures("stack")
class TestStatus:
    def test_as_json_is_stable(self, run: Run) -> None:
        code, output, errors = run("status", "--json")
        assert (code, errors) == (0, "")
        assert json.loads(output) == {
            "stack": "dlstack-dev",
            "namespace": "dlstack-dev",
            "job": {
                "name": "training-1",
                "state": "succeeded",
                "reason": None,
                "runHash": RUN,
                "attempt": 2,
                "nodes": 1,
                "started": "2026-03-01T10:00:00Z",
                "seconds": 65.0,
                "progress": None,
            },
            "model": "mnist",
            "versions": [
                {
                    "version": 2,
                    "served": True,
                    "metrics": {"accuracy": 0.9927, "loss": 0.0221},
                    "runHash": RUN,
                    "created": "2026-03-02T10:00:00+00:00",
                    "damage": None,
                },
                {
                    "version": 1,
                    "served": False,
                    "metrics": {"accuracy": 0.87},
                    "runHash": OTHER,
                    "created": "2026-03-01T10:00:00+00:00",
                    "damage": None,
                },
            ],
            "served": [{"model": "mnist", "version": 2}],
            "wantedVersion": 2,
            "wantedModel": "mnist",
            "deploy": True,
            "pinnedVersion": None,
            "services": {
                name: {"state": "ready", "reason": None, "ready": 1, "replicas": 1}
                for name in ("prediction", "tensorboard", "object-store")
            },
            "storeDisk": None,
            "addresses": {
                "grpc": "203.0.113.1:31670",
                "rest": "http://203.0.113.1:30800",
                "page": "http://203.0.113.1:32127",
                "tensorboard": "http://203.0.113.1:32307",
            },
            "problem": None,
        }

    def test_as_a_table_has_it_all(self, run: Run) -> None:
        code, output, errors = run("status")
        assert (code, errors) == (0, "")
        # Times are in the zone of whoever reads them.
        shown = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+", "TIME", output)
        assert [re.split(r"  +", line) for line in shown.splitlines()] == [
            ["stack", "dlstack-dev"],
            ["job", "succeeded", "run 5a1dcbe55a1d, 1 node, attempt 2, started TIME, 1 min 5 s"],
            ["prediction", "serving", "version 2, 1 of 1 pods"],
            ["tensorboard", "ready", "1 of 1 pods"],
            ["object store", "ready", "1 of 1 pods"],
            [""],
            ["model", "version", "metrics", "run", "published"],
            ["mnist", "2", "served", "accuracy 0.9927, loss 0.0221", "5a1dcbe55a1d", "TIME"],
            ["mnist", "1", "accuracy 0.87", "bbbbbbbbbbbb", "TIME"],
            [""],
            ["gRPC", "203.0.113.1:31670"],
            ["REST", "http://203.0.113.1:30800"],
            ["page", "http://203.0.113.1:32127"],
            ["TensorBoard", "http://203.0.113.1:32307"],
        ]

    def test_says_that_the_stores_disk_is_nearly_full(
        self, run: Run, stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk = Disk(10**10, 10**8)
        monkeypatch.setattr(store_disk, "look", lambda _, namespace: disk)
        assert "nearly full: 100.0 MB of 10.0 GB are free. 'pulumi config" in run("status")[1]
        found = json.loads(run("status", "--json")[1])
        assert found["storeDisk"] == {"bytes": 10**10, "free": 10**8}
        # Another one's is asked by nobody.
        stack[f"{PLACE}/configmaps/stack"]["data"]["storeInStack"] = "false"
        assert json.loads(run("status", "--json")[1])["storeDisk"] is None

    def test_says_how_far_a_run_is(self, run: Run, stack: dict[str, Any], bucket: Bucket) -> None:
        stack[JOBS] = {"items": [job()]}
        stack[f"{PLACE}/pods"] = {"items": [pod(running={})]}
        progress = {"done": 300, "total": 1000, "unit": "steps", "at": "2026-03-01T10:01:00Z"}
        told = record(RUN, progress=progress).document
        bucket.put(f"runs/{RUN[:12]}/run.json", json.dumps(told))
        assert "step 300 of 1000 (30 %)" in run("status")[1]
        assert json.loads(run("status", "--json")[1])["job"]["progress"]["done"] == 300

    def test_shows_the_version_that_serves_while_another_model_is_trained(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        """Symptom: "serving version 1", and below it that no version is published."""
        stack[f"{PLACE}/configmaps/stack"]["data"]["modelName"] = "shapes"
        output = run("status")[1]
        assert re.search("serving +version 2 of the model 'mnist', 1 of 1 pods", output)
        rows = [line.split() for line in output.splitlines()]
        assert ["mnist", "2", "served"] in [row[:3] for row in rows]
        assert not any(row[:2] == ["mnist", "1"] for row in rows)
        assert "no version of the model 'shapes' is published yet" in output

    @pytest.mark.parametrize("width", [60, 80, 120])
    def test_is_no_wider_than_the_terminal(
        self, run: Run, stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch, width: int
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        stack[JOBS] = {"items": [job()]}
        waits = " ".join(f"word{number}" for number in range(40))
        unscheduled = {"type": "PodScheduled", "status": "False", "message": waits}
        stack[f"{PLACE}/pods"] = {"items": [pod(conditions=(unscheduled,))]}
        output = run("status")[1]
        assert max(len(line) for line in output.splitlines()) <= max(width, 62)
        assert " ".join(output.split()).count("word") == 40

    def test_while_a_version_rolls_out_says_which_one_answers(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        stack[f"{PLACE}/pods"] = {"items": [prediction_pod(1, True), prediction_pod(2, False)]}
        stack[APPS] = {"items": [deployment("prediction", replicas=2, availableReplicas=1)]}
        found = json.loads(run("status", "--json")[1])
        assert found["services"]["prediction"]["state"] == "rolling out"
        assert [one["version"] for one in found["versions"] if one["served"]] == [1]
        assert "version 2, 1 of 1 pods; answers now: version 1" in run("status")[1]

    def test_a_pod_that_is_about_to_end_is_not_served_from(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        ending = prediction_pod(1, True)
        ending["metadata"]["deletionTimestamp"] = "2026-03-02T10:00:00Z"
        stack[f"{PLACE}/pods"] = {"items": [ending, prediction_pod(2, True)]}
        found = json.loads(run("status", "--json")[1])
        assert [one["version"] for one in found["versions"] if one["served"]] == [2]

    def test_what_does_not_come_up_says_why(self, run: Run, stack: dict[str, Any]) -> None:
        stuck = deployment("tensorboard", availableReplicas=0, readyReplicas=0)
        stuck["metadata"] |= {
            "uid": "d",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        }
        replica_set = {
            "metadata": {
                "uid": "rs",
                "annotations": {"deployment.kubernetes.io/revision": "1"},
                "ownerReferences": [{"uid": "d"}],
            },
            "status": {
                "conditions": [
                    {
                        "type": "ReplicaFailure",
                        "status": "True",
                        "message": 'pods "t-1" is forbidden: exceeded quota: small, requested: '
                        "pods=1, used: pods=3, limited: pods=3",
                    }
                ]
            },
        }
        stack[APPS]["items"][1] = stuck
        stack["/apis/apps/v1/namespaces/dlstack-dev/replicasets"] = {"items": [replica_set]}
        told = json.loads(run("status", "--json")[1])["services"]["tensorboard"]
        why = (
            "the namespace's quota is used up: exceeded quota: small, requested: pods=1, used: "
            "pods=3, limited: pods=3. Raise the quota of the namespace, or wait until something "
            "there ends."
        )
        assert told == {"state": "rolling out", "reason": why, "ready": 0, "replicas": 1}
        assert f"rolling out  0 of 1 pods: {why}" in run("status")[1]

    def test_of_a_first_run_has_no_version_and_already_a_tensorboard(
        self, run: Run, stack: dict[str, Any], bucket: Bucket
    ) -> None:
        for version in (1, 2):
            key = f"models/mnist/{version}/manifest.json"
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        stack[JOBS] = {"items": [job()]}
        stack[f"{PLACE}/pods"] = {"items": [pod(running={})]}
        stack[APPS] = {"items": [deployment("tensorboard")]}
        found = json.loads(run("status", "--json")[1])
        assert (found["job"]["state"], found["versions"]) == ("running", [])
        assert found["services"]["prediction"] is None
        output = run("status")[1]
        assert "no version of the model 'mnist' is published yet" in output
        assert "http://203.0.113.1:32307" in output

    def test_says_that_a_pin_withholds_a_newer_version(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        assert "pinned" not in run("status")[1]
        stack[f"{PLACE}/configmaps/stack"]["data"]["pinnedVersion"] = "1"
        assert json.loads(run("status", "--json")[1])["pinnedVersion"] == 1
        output = run("status")[1]
        assert "Version 1 is pinned: nothing is trained. Version 2 is newer, and is not" in output
        assert "pulumi config rm dlstack:modelVersion && pulumi up" in output
        stack[f"{PLACE}/configmaps/stack"]["data"]["pinnedVersion"] = "2"
        assert "is newer" not in run("status")[1]

    def test_says_that_a_pinned_version_can_not_be_served(
        self, run: Run, stack: dict[str, Any], bucket: Bucket
    ) -> None:
        """Symptom: "Version 9 is pinned: nothing is trained", and not that there is none."""
        stack[f"{PLACE}/configmaps/stack"]["data"]["pinnedVersion"] = "9"
        assert "Version 9 is pinned, but is not published. Set dlstack:mo" in run("status")[1]
        bucket.put("models/mnist/1/manifest.json", "{")
        stack[f"{PLACE}/configmaps/stack"]["data"]["pinnedVersion"] = "1"
        assert "Version 1 is pinned, but is damaged. Set dlstack:mo" in run("status")[1]
        # Symptom: "Set dlstack:modelVersion to another one", of none.
        bucket.put("models/mnist/2/manifest.json", "{")
        output = run("status")[1]
        assert "Version 1 is pinned, but is damaged, and none is intact. Restore a " in output
        assert "'python -m infra restore FILE'" in output and "Set dlstack:mo" not in output

    def test_names_the_model_that_serves_where_the_stack_trains_another(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        """Symptom: "version 1", then "no version of the model 'shapes' is published yet"."""
        stack[f"{PLACE}/pods"] = {"items": [prediction_pod(2, True, "houses")]}
        stack[APPS] = {"items": [deployment("prediction", model="houses")]}
        assert "version 2 of the model 'houses', 1 of 1 pods" in run("status")[1]
        found = json.loads(run("status", "--json")[1])
        assert found["wantedModel"] == "houses"
        assert found["served"] == [{"model": "houses", "version": 2}]
        # Version 2 of 'mnist' is another one.
        assert not any(one["served"] for one in found["versions"])

    def test_says_what_is_published_and_not_served(self, run: Run, stack: dict[str, Any]) -> None:
        stack[f"{PLACE}/configmaps/stack"]["data"]["deploy"] = "false"
        assert "not served" not in run("status")[1]
        stack[f"{PLACE}/pods"] = {"items": [prediction_pod(1, True)]}
        stack[APPS] = {"items": [deployment("prediction", 1)]}
        output = run("status")[1]
        assert re.search("serving +version 1, 1 of 1 pods", output)
        assert (
            "Version 2 is published and not served. To serve it:\n"
            "pulumi config set dlstack:deploy true && pulumi up" in output
        )
        stack[f"{PLACE}/pods"], stack[APPS] = {"items": []}, {"items": [deployment("tensorboard")]}
        output = run("status")[1]
        assert re.search("prediction +none +dlstack:deploy is false", output)
        assert "Version 2 is published and not served." in output
        assert json.loads(run("status", "--json")[1])["deploy"] is False

    def test_marks_a_version_that_can_not_be_served(
        self, run: Run, stack: dict[str, Any], bucket: Bucket
    ) -> None:
        bucket.put("models/mnist/1/manifest.json", "{")
        found = json.loads(run("status", "--json")[1])["versions"]
        assert [one["damage"] is None for one in found] == [True, False]
        assert f"{bucket.name}/models/mnist/1/manifest.json' is not a" in found[1]["damage"]
        assert ["mnist", "1", "damaged"] in [row.split() for row in run("status")[1].splitlines()]

    def test_without_the_bucket_shows_the_rest_and_says_why(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        del stack[f"{PLACE}/secrets/object-store"]
        code, output, errors = run("status")
        assert code == 1
        assert "serving" in output
        assert errors.startswith("error: The Secret 'object-store'") and errors.count("\n") == 1

    def test_shows_no_credential(self, run: Run, object_store: SeaweedFS) -> None:
        for words in (["status"], ["status", "--json"], ["runs"], ["logs"]):
            _, output, errors = run(*words)
            assert object_store.secret_key not in output + errors


@pytest.mark.usefixtures("stack")
class TestRuns:
    def test_are_listed_with_what_they_published(self, run: Run) -> None:
        found = json.loads(run("runs", "--json")[1])["runs"]
        # The logs were put within a second.
        assert sorted((one["run"], one["version"]) for one in found) == [
            (RUN[:12], 2),
            (OTHER[:12], 1),
        ]

    def test_have_a_record_that_is_read_with_their_jobs(self, run: Run, bucket: Bucket) -> None:
        told = record(OTHER, model_name="houses", parameters={"rate": "0.5"}).document
        bucket.put(f"runs/{OTHER[:12]}/run.json", json.dumps(told))
        found = {one["run"]: one for one in json.loads(run("runs", "--json")[1])["runs"]}
        assert found[OTHER[:12]]["state"] == "lost"
        assert found[OTHER[:12]]["published"] == [{"model": "mnist", "version": 1}]
        assert found[RUN[:12]]["state"] == "succeeded"
        rows = [re.split("  +", line) for line in run("runs")[1].splitlines()]
        assert rows[0][:4] == ["run", "model", "state", "version"]
        assert [OTHER[:12], "houses", "lost", "mnist 1"] in [row[:4] for row in rows]
        assert run("runs", "--model", "houses")[1].splitlines()[1].startswith(OTHER[:12])

    def test_are_sorted_and_compared(self, run: Run) -> None:
        assert run("runs", "--sort", "-accuracy")[1].splitlines()[1].startswith(RUN[:12])
        assert run("runs", "--sort", "accuracy")[1].splitlines()[1].startswith(OTHER[:12])
        assert "metric or parameter 'f1'" in run("runs", "--sort", "f1")[2]
        told = json.loads(run("runs", RUN[:4], "bb", "--json")[1])
        assert told["differences"]["metrics"]["accuracy"] == [0.9927, 0.87]
        assert "-0.1227" in run("runs", RUN[:4], "bb")[1]
        assert run("runs", "bb")[1].startswith("run        bbbbbbbbbbbb\n")
        assert run("runs", "zz")[2].startswith("error: 'zz' fits no run. These runs are known")
        assert "Two runs can be compared, not 3" in run("runs", "b", "b", "b")[2]

    def test_of_an_earlier_one_the_log_is_in_the_bucket(self, run: Run) -> None:
        assert run("logs", "--run", OTHER)[:2] == (0, "old\n")
        assert run("logs", "--run", "bbb", "--follow")[:2] == (0, "old\n")

    def test_the_log_of_the_newest_is_shown_whatever_became_of_its_pod(self, run: Run) -> None:
        assert run("logs") == (0, "new\n", "")
        code, output, errors = run("logs", "-f")
        assert (code, output) == (0, "new\n")
        assert re.match(
            r"The Job 'training-1' succeeded \d+ h \d+ min ago, after 1 min 5 s\n", errors
        )

    def test_of_a_job_that_had_ended_before_it_is_said_and_what_to_do(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        """Symptom otherwise: the old failure is taken for that of the `up` that has just begun."""
        failed = ended("Failed", reason="DeadlineExceeded")
        failed["lastTransitionTime"] = datetime.now(UTC).isoformat()
        [job_now] = stack[JOBS]["items"]
        job_now["status"]["conditions"] = [failed]
        stack[f"{JOBS}/training-1"] = job_now
        code, _, errors = run("logs", "-f")
        first, second = errors.splitlines()
        assert code == 1
        assert re.match(r"The Job 'training-1' failed \d+ s ago, after .*: ", first)
        assert "If a 'pulumi up' runs now, its Job is not there yet: try again in a" in second
        assert "is not there yet" not in run("logs", "-f", "--run", RUN[:8])[2]

    def test_after_the_last_job_is_gone_the_newest_is_found_in_the_bucket(
        self, run: Run, stack: dict[str, Any]
    ) -> None:
        stack[JOBS] = {"items": []}
        assert run("logs")[0] == 0

    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (["--run", "zz"], "--run 'zz' fits no run. These runs are known, the newest first: "),
            (
                ["--worker", "1"],
                "--worker 1: the run 5a1dcbe55a1d has no such worker. Its last one is number 0.",
            ),
        ],
    )
    def test_what_is_not_there_is_told(self, run: Run, words: list[str], problem: str) -> None:
        code, output, errors = run("logs", *words)
        assert (code, output) == (1, "")
        assert errors.startswith(f"error: {problem}") and errors.count("\n") == 1

    def test_a_job_that_has_not_begun_says_why(
        self, run: Run, stack: dict[str, Any], bucket: Bucket
    ) -> None:
        bucket.client.delete_object(Bucket=bucket.name, Key=f"runs/{RUN[:12]}/log.txt")
        stack[JOBS] = {"items": [job()]}
        waiting = {"items": [pod(waiting={"reason": "ErrImagePull"})]}
        stack[f"{PLACE}/pods"] = waiting
        code, _, errors = run("logs")
        assert code == 1
        assert "yet: its Job is pending (the image can't be pulled" in errors


class TestTheStack:
    def test_that_is_not_deployed_is_told(self, run: Run, fake_cluster: FakeCluster) -> None:
        code, output, errors = run("status")
        assert (code, output) == (1, "")
        assert errors.startswith("error: The stack 'dlstack-dev' is not deployed in the namespace")

    def test_in_anothers_namespace_is_told(self, run: Run, stack: dict[str, Any]) -> None:
        stack[f"{PLACE}/configmaps/stack"]["data"]["stack"] = "other-prod"
        assert "belongs to the stack 'other-prod'" in run("status")[2]

    @pytest.fixture
    def known(self, tmp_path: Path) -> dict[str, Any]:
        """What the state says of the stack, in place of nothing."""
        outputs = {"stack_id": STACK_ID, "namespace": "dlstack-dev", "cluster": CLUSTER}
        kind = "pulumi-python:dynamic/stack:Identity"
        state = {"deployment": {"resources": [{"type": kind, "outputs": outputs}]}}
        (tmp_path / "state").write_text(json.dumps(state))
        program(
            tmp_path / "bin",
            "case $2 in --show-name) echo dev;; --json) echo {};; "
            f"export) cat {tmp_path}/state;; esac",
        )
        return outputs

    def test_is_known_by_its_id(
        self, run: Run, stack: dict[str, Any], known: dict[str, Any]
    ) -> None:
        assert run("status")[0] == 0
        # Of the same name, and of another back end.
        stack[f"{PLACE}/configmaps/stack"]["data"]["stackId"] = "another"
        assert "belongs to the stack 'dlstack-dev', and not to the stack" in run("status")[2]

    def test_of_another_cluster_names_both(
        self,
        run: Run,
        stack: dict[str, Any],
        known: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """It has a namespace of the same name, with a stack of its own, or none."""
        other = CLUSTER | {"uid": "other", "server": "https://other:6443"}
        monkeypatch.setattr(api, "identify", lambda *_: other)
        stack[f"{PLACE}/configmaps/stack"]["data"]["stackId"] = "another"
        told = f"is in the cluster '{CLUSTER['server']}' (UID {CLUSTER['uid']}), but the current"
        assert told in run("status")[2]
        del stack[f"{PLACE}/configmaps/stack"]
        assert told in run("logs")[2]

    def test_that_pulumi_does_not_know_is_told_in_its_words(self, run: Run, tmp_path: Path) -> None:
        program(tmp_path / "bin", "echo \"error: no stack named 'qa' found\" >&2; exit 255")
        code, _, errors = run("status", "--stack", "qa")
        assert code == 1
        assert "failed: no stack named 'qa' found. Choose a stack with --stack" in errors

    def test_needs_a_project(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "Pulumi.yaml").unlink()
        assert "has no Pulumi project" in run("status")[2]

    def test_needs_pulumi(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "There is no `pulumi` on PATH" in run("status")[2]

    def test_is_the_selected_one_with_its_own_namespace_and_context(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = {"dlstack:namespace": {"value": "ml"}, "kubernetes:context": {"value": "big"}}
        program(
            tmp_path / "bin", f"[ $2 = --show-name ] && echo dev || echo '{json.dumps(config)}'"
        )
        assert deployed.selected(None) == deployed.Selected("dlstack-dev", "ml", "big")
        monkeypatch.setenv("PULUMI_STACK", "org/dlstack/qa")
        assert deployed.selected(None).name == "dlstack-qa"
        assert deployed.selected("prod").name == "dlstack-prod"

    def test_describes_itself_as_the_commands_read_it(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        up(host="203.0.113.1", modelName="digits")
        declared = engine.the("kubernetes:core/v1:ConfigMap", "description")
        fake_cluster.answers[f"{PLACE}/configmaps/stack"] = declared
        assert declared["metadata"]["name"] == "stack"
        found = deployed.find(deployed.Selected("dlstack-dev", "dlstack-dev", ""))
        assert (found.host, found.output_bucket) == ("203.0.113.1", "dlstack-dev-output")
        assert found.model_name == "digits"
        of_the_folder = engine.the("pulumi-python:dynamic/s3:Folder", "code")["store"]
        assert found.store == {key: of_the_folder[key] for key in found.store} | {
            "cluster": ANY_CLUSTER
        }


def test_an_ambiguous_beginning_of_a_hash_names_the_runs() -> None:
    with pytest.raises(pulumi.RunError, match="fits 2 runs: abc1.*, abc2.*Give more digits"):
        choosing.the_run("abc", ["abc1" * 16, "abc2" * 3])
    # A run that is in the cluster and in the bucket is one.
    assert choosing.the_run("abc", ["abc1" * 16, "abc1" * 3])


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (service("tensorboard", http=32307), "http://node:32307"),
        (service("tensorboard", "LoadBalancer", http=0), None),
        (
            service("tensorboard", "LoadBalancer", http=0)
            | {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}},
            "http://lb.example:8000",
        ),
        (service("tensorboard", "ClusterIP", http=0), "http://tensorboard.dlstack-dev.svc:8000"),
    ],
    ids=["node port", "no load balancer yet", "load balancer", "in the cluster"],
)
def test_the_address_of_a_service_is_as_it_is_exposed(
    one: dict[str, Any], found: str | None
) -> None:
    assert addresses.of_services([one], "node").get("tensorboard") == found
