"""One stack from the first `pulumi up` to `pulumi destroy`, on a real cluster with the real MNIST.

Its user has the rights of examples/role.yaml in a namespace that is given, with quotas and policies
that deny all traffic; nothing outside of it.

The tests build on each other and run in the order in which they stand here: a stack's life takes
minutes, and each of its stages is worth a name. Not covered: load balancers of clouds, official
images and GPUs, which need other clusters.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY
from local.stack import held_out
from tests.cluster.conftest import Deployment, json_at, new_stack
from tests.copies import copy_part
from tests.infra.resources.first_release import as_written_by_it
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RIGHT_OF_100 = 98


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-life", given=True, pauses=True) as deployment:
        yield deployment


def served(deployment) -> dict[str, object]:
    """What the REST status call says: version to state; empty where no whole answer comes."""
    outputs = deployment.outputs()
    told = json_at(f"{outputs['restUrl']}/v1/models/{outputs['modelName']}")
    return {one["version"]: one["state"] for one in told["model_version_status"]} if told else {}


def await_served(deployment, version: str) -> None:
    """Wait until new connections lead to this version alone: the node hears of it some time after
    Pulumi, and the pod of before answers on until then."""
    eventually(lambda: served(deployment) == {version: "AVAILABLE"})


def test_up_trains_and_serves_a_model_that_reads_digits(deployment):
    done = deployment.up()
    assert done.returncode == 0
    outputs = deployment.outputs()
    truths, answers = held_out.predict(deployment.variables, deployment.data_dir, 100)
    assert sum(a == t for a, t in zip(answers, truths, strict=True)) >= RIGHT_OF_100
    assert outputs["modelVersion"] == 1
    assert outputs["metrics"]["accuracy"] >= 0.99
    assert served(deployment) == {"1": "AVAILABLE"}
    for page in ("tensorboardUrl", "pageUrl"):
        with urllib.request.urlopen(str(outputs[page]), timeout=60) as answer:
            assert answer.status == 200


def infra(deployment, *words: str) -> str:
    """What `python -m infra` says, as the stack's user."""
    done = subprocess.run(
        [sys.executable, "-m", "infra", *words],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_user_has_no_right_outside_of_the_namespace(deployment):
    for question in (("list", "nodes"), ("get", "namespaces/kube-system"), ("list", "namespaces")):
        asked = deployment.kubectl("auth", "can-i", *question, "--all-namespaces")
        assert asked.stdout.strip() == "no", question


def test_status_and_logs_need_no_other_rights(deployment):
    told = json.loads(infra(deployment, "status", "--json"))
    assert (told["job"]["state"], told["problem"]) == ("succeeded", None)
    assert [one["version"] for one in told["versions"]] == [1]
    assert "Published version 1" in infra(deployment, "logs")


def test_tensorboard_shows_the_scalars_of_the_run(deployment):
    url = f"{deployment.outputs()['tensorboardUrl']}/data/plugin/scalars/tags"
    wanted = {"loss", "accuracy", "learning_rate", "global_step/sec"}
    until = time.monotonic() + 180
    while True:
        shown = {tag for tags in (json_at(url) or {}).values() for tag in tags}
        if wanted <= shown:
            return
        assert time.monotonic() < until, f"TensorBoard shows only {sorted(shown)}"
        time.sleep(0.5)


def test_a_second_up_changes_nothing(deployment):
    done = deployment.pulumi("preview", "--expect-no-changes")
    assert done.returncode == 0
    assert "trains" not in done.stdout
    done = deployment.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert done.returncode == 0


def test_the_state_does_not_hold_the_code_that_pods_run(deployment):
    """It is written after each step of an `up`, to a store that may be far away."""
    state = json.loads(deployment.pulumi("stack", "export").stdout)
    assert len(json.dumps(state, separators=(",", ":"))) < 400_000


def test_a_preview_names_the_files_of_a_package_that_changed(deployment, tmp_path):
    for folder in ("infra", "store", "training", "serving"):
        copy_part(folder, tmp_path / folder)
    # Not those of other stacks, which come and go.
    for file in ("__main__.py", "Pulumi.yaml", f"Pulumi.{deployment.name}.yaml"):
        shutil.copy(REPOSITORY / file, tmp_path)
    (tmp_path / ".venv").symlink_to(REPOSITORY / ".venv")
    with (tmp_path / "serving" / "server.py").open("a") as changed:
        changed.write("# A line more.\n")
    (tmp_path / "serving" / "new.py").touch()
    done = deployment.pulumi("preview", "--diff", project=tmp_path)
    assert done.returncode == 0
    words = [line.split() for line in done.stdout.splitlines()]
    named = [(word[0], word[1]) for word in words if len(word) > 2 and word[0] in ("+", "-", "~")]
    files = [(change, file) for change, file in named if file.startswith(("serving/", "training/"))]
    # Those of the server, and of what tries a model before it is published.
    assert [(change, file.rstrip(":")) for change, file in files] == 2 * [
        ("+", "serving/new.py"),
        ("~", "serving/server.py"),
    ]


def test_no_secret_is_in_the_state_in_plain_text(deployment):
    secret = deployment.kubectl(
        *("get", "secret", "object-store"),
        *("--output", 'go-template={{index .data "AWS_SECRET_ACCESS_KEY" | base64decode}}'),
    ).stdout
    assert len(secret) > 20
    assert secret not in deployment.pulumi("stack", "export").stdout


def test_a_changed_run_parameter_replaces_the_job_and_the_new_version_answers(deployment):
    before = deployment.names("jobs")
    deployment.configure("runParameters.model=softmax")
    done = deployment.up()
    assert done.returncode == 0
    # Said before it begins.
    why = done.stdout.index("since version 1, dlstack:runParameters.model: (not set) -> softmax")
    assert why < done.stdout.index("Job training-job")
    after = deployment.names("jobs")
    assert len(after) == 1 and after != before
    outputs = deployment.outputs()
    assert outputs["modelVersion"] == 2
    assert 0.85 <= outputs["metrics"]["accuracy"] < 0.95
    await_served(deployment, "2")


def versions(deployment) -> list[int]:
    """The newest first."""
    told = json.loads(infra(deployment, "status", "--json"))
    return [one["version"] for one in told["versions"]]


def test_pinning_a_version_rolls_back_without_a_job(deployment):
    # Though the working tree could not even be trained, and old versions are to go.
    deployment.configure("modelVersion=1", "bootFile=gone.py", "keepVersions=1")
    done = deployment.up()
    assert done.returncode == 0
    assert deployment.outputs()["modelVersion"] == 1
    assert "dlstack:keepVersions is 1, and mnist 1 stays: " in done.stdout
    assert versions(deployment) == [2, 1]
    await_served(deployment, "1")
    assert deployment.names("jobs") == []
    deployment.configure("bootFile=train_mnist.py")


def test_a_failing_boot_file_shows_its_last_words_and_the_old_version_serves_on(deployment):
    # Without the pin, which would keep the old version anyway.
    deployment.configure("runParameters.model=transformer", "modelVersion=")
    done = deployment.up()
    assert done.returncode != 0
    assert "transformer" in done.stdout
    assert served(deployment) == {"1": "AVAILABLE"}


def test_a_model_below_the_bar_is_not_published(deployment):
    deployment.configure("runParameters.model=softmax", "minAccuracy=0.999")
    done = deployment.up()
    assert done.returncode != 0
    assert "0.999" in done.stdout
    assert served(deployment) == {"1": "AVAILABLE"}


def test_a_flavour_that_the_namespace_s_limits_refuse_is_told_at_once(deployment):
    # Of a run that is not published: only what is to be trained needs room.
    deployment.configure("minAccuracy=", "flavour=gpu-4", "runParameters.model=transformer")
    done = deployment.up()
    assert done.returncode != 0
    assert "a default cpu limit is below what the pod reserves" in done.stdout
    assert "Give the flavour a cpuLimit in dlstack:flavours" in done.stdout
    assert "Traceback" not in done.stdout
    assert served(deployment) == {"1": "AVAILABLE"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a backup."""
    return tmp_path_factory.mktemp("backup") / "backup.tar"


def test_what_is_put_right_is_deployed_and_a_published_run_trains_nothing(deployment, kept):
    """From here on behind a load balancer, which the embedded cluster has for any stack."""
    infra(deployment, "backup", str(kept))
    deployment.configure("flavour=cpu", "runParameters.model=softmax")
    embedded = deployment.platform.brought_kubeconfig is None
    (claim,) = deployment.items("persistentvolumeclaims")
    if embedded:
        deployment.configure("storageSize=11Gi")
        deployment.pulumi("config", "rm", "dlstack:host")
        deployment.configure("serviceType=LoadBalancer", "insecure=true")
        deployment.configure("tensorboardServiceType=ClusterIP")
    done = deployment.up()
    assert done.returncode == 0
    outputs = deployment.outputs()
    assert outputs["modelVersion"] == 2
    await_served(deployment, "2")
    assert deployment.names("jobs") == []
    assert "dlstack:keepVersions is 1: version 1, with what only it needed" in done.stdout
    if embedded:
        address = "jsonpath={.status.loadBalancer.ingress[0].ip}"
        told = deployment.kubectl("get", "service", "prediction", f"--output={address}")
        assert (outputs["host"], outputs["grpcPort"]) == (told.stdout, 8500)
        eventually(lambda: has_grown(deployment, claim))


def has_grown(deployment, claim: dict) -> bool:
    """Whether the volume has done so in its place, with all that is in it."""
    (now,) = deployment.items("persistentvolumeclaims")
    assert now["metadata"]["uid"] == claim["metadata"]["uid"]
    return now["status"]["capacity"] == {"storage": "11Gi"}


def test_of_the_version_that_is_kept_code_and_data_are_there(deployment, tmp_path):
    assert versions(deployment) == [2]
    infra(deployment, "download", "2", str(tmp_path / "2"), "--data")
    there = {file.name: file.read_bytes() for file in (tmp_path / "2" / "data").iterdir()}
    assert there == {file.name: file.read_bytes() for file in deployment.data_dir.iterdir()}


def test_old_versions_come_back_from_a_file_and_go(deployment, kept, tmp_path):
    infra(deployment, "restore", str(kept))
    assert versions(deployment) == [2, 1]
    infra(deployment, "download", "1", str(tmp_path / "1"))
    assert (tmp_path / "1" / "model" / "saved_model.pb").stat().st_size > 0
    boot_file = tmp_path / "1" / "code" / "train_mnist.py"
    assert boot_file.read_bytes() == (REPOSITORY / "training/mnist/train_mnist.py").read_bytes()
    assert "can go" in infra(deployment, "prune", "--keep=1")
    assert versions(deployment) == [2, 1]
    infra(deployment, "prune", "--keep=1", "--yes")
    assert versions(deployment) == [2]
    assert served(deployment) == {"2": "AVAILABLE"}


def test_a_state_that_the_first_release_wrote_is_understood(deployment, tmp_path):
    state = json.loads(deployment.pulumi("stack", "export").stdout)
    file = tmp_path / "state.json"
    file.write_text(json.dumps(as_written_by_it(state)))
    assert deployment.pulumi("stack", "import", "--file", str(file)).returncode == 0
    assert deployment.pulumi("preview").returncode == 0


def test_destroy_leaves_nothing(deployment):
    volumes = [claim["spec"]["volumeName"] for claim in deployment.items("persistentvolumeclaims")]
    assert deployment.destroy().returncode == 0
    deployment.variables = deployment.platform.environment()
    # But the namespace, and what its administrator put there.
    kinds = "deployments,jobs,persistentvolumeclaims,configmaps,secrets,services,networkpolicies"
    left = {(one["kind"], one["metadata"]["name"]) for one in deployment.items(kinds)}
    assert left == {("ConfigMap", "kube-root-ca.crt"), ("NetworkPolicy", "deny-all")}
    assert volumes
    if deployment.platform.brought_kubeconfig is None:
        for volume in volumes:
            waited = deployment.kubectl(
                "wait", "--for=delete", f"persistentvolume/{volume}", "--timeout=300s"
            )
            assert waited.returncode == 0, waited.stderr
            assert not (deployment.platform.cluster.folder / "volumes" / volume).exists()
