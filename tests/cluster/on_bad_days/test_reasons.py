"""What does not come up says why: in `pulumi up` within 30 s, in `status` afterwards.

The tests build on each other and run in the order in which they stand here. Not covered: what
depends on other nodes or registries than a cluster of one node has (tests/infra/cluster has the
documents of those).
"""

import hashlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY
from tests.cluster.conftest import Deployment, new_stack
from tests.cluster.jobs import Job
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SECONDS = 30
"""Within which `pulumi up` says why, from the moment at which it begins to wait."""
WAITS = re.compile(r":(RollOut|RunEnd) \S+ (creating|updating)")
"""What `pulumi up` says when it begins to wait for a Deployment or a training."""

POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAMESPACE}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations: [{expression: "'team' in object.metadata.labels", message: "no label team"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAMESPACE}
spec:
  policyName: NAMESPACE
  validationActions: [Deny]
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
"""
QUOTA = """\
apiVersion: v1
kind: ResourceQuota
metadata: {name: small}
spec: {hard: {pods: "0"}}
"""
LIMITS = """\
apiVersion: v1
kind: LimitRange
metadata: {name: small}
spec: {limits: [{type: Container, max: {memory: 100Mi}}]}
"""
BOOT_FILE = '''\
raise ValueError("""The model has 3 outputs,
  but the labels have 2:
  cat, dog

Correct one of them.""")
'''


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-reasons") as deployment:
        deployment.configure("runParameters.max_steps=100")
        deployment.configure("flavour=cpu-small", "servingFlavour=cpu-small")
        yield deployment


@pytest.fixture(scope="module")
def job(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(deployment, tmp_path_factory.mktemp("code") / "code", "reasons")


TRIED = """\
apiVersion: v1
kind: Pod
metadata: {name: tried}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: one
      image: none
      resources: {limits: {memory: 1Gi}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


def is_refused(deployment: Deployment) -> bool:
    """Whether the namespace takes no pod of the size of a training's."""
    words = ("create", "--dry-run=server", "--filename=-")
    return deployment.kubectl(*words, given=TRIED).returncode != 0


@contextmanager
def applied(deployment: Deployment, text: str) -> Iterator[None]:
    document = text.replace("NAMESPACE", deployment.namespace)
    assert deployment.kubectl("apply", "-f", "-", given=document).returncode == 0
    try:
        yield
    finally:
        deployment.kubectl("delete", "-f", "-", given=document)


def watched_up(
    deployment: Deployment, words: str = "", patience: float = 600
) -> tuple[int, str, float]:
    """Run `pulumi up` to its end, or until it says `words`: then press Ctrl-C.

    Return its exit status, what it said, and after how many seconds of waiting that was: what it
    does before takes a busy machine long.
    """
    with tempfile.NamedTemporaryFile("w") as log:
        # Read on its own: with the position of pulumi's own file, that would write elsewhere.
        file = Path(log.name)
        began, waits, over = time.monotonic(), False, False
        process = deployment.start_pulumi("up", "--yes", "--skip-preview", output=log)
        try:
            while not over:
                time.sleep(0.2)
                over = process.poll() is not None or time.monotonic() > began + patience
                said = file.read_text(errors="replace")
                over = over or bool(words) and words in said
                if not waits and WAITS.search(said):
                    began, waits = time.monotonic(), True
            seconds = time.monotonic() - began
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(300)
        said = file.read_text(errors="replace")
    print(said)
    return process.returncode, said, seconds


def up_until(deployment: Deployment, words: str) -> float:
    """Run `pulumi up` until it says `words`; return after how many seconds of waiting."""
    _, said, seconds = watched_up(deployment, words, 120)
    assert words in said
    return seconds


def failed_up(deployment: Deployment) -> tuple[str, float]:
    """Run `pulumi up`, which has to fail; return what it said, and after how long a wait."""
    status, said, seconds = watched_up(deployment)
    assert status != 0
    assert "Exception calling application" not in said
    return said, seconds


def status(deployment: Deployment) -> dict:
    asked = subprocess.run(
        [sys.executable, "-m", "infra", "status", "--json"],
        cwd=REPOSITORY,
        env={**deployment.variables},
        capture_output=True,
        text=True,
    )
    print(asked.stdout, asked.stderr)
    return json.loads(asked.stdout)


def test_a_storage_class_that_is_not_there_ends_the_first_up(deployment, job):
    deployment.configure("storageClass=nowhere")
    said, seconds = failed_up(deployment)
    assert "the cluster has no storage class 'nowhere'. Set dlstack:storageClass" in said
    assert seconds < SECONDS
    # As it advises.
    deployment.configure("storageClass=")
    assert deployment.kubectl("delete", "pvc", "object-store").returncode == 0
    assert deployment.pulumi("up", "--yes", "--skip-preview", "--refresh").returncode == 0


def test_a_job_whose_image_can_not_be_pulled_says_so(deployment, job):
    deployment.configure("image=localhost/nobody/nothing:1")
    job.another_run()
    words = "waits: the image 'localhost/nobody/nothing:1' can't be pulled: "
    assert up_until(deployment, words) < SECONDS
    found = status(deployment)["job"]
    assert found["state"] == "pending"
    assert "Set dlstack:image to" in found["reason"]
    deployment.configure("image=")


def test_an_exception_of_several_lines_is_told_with_all_of_them(deployment, job):
    (job.code / "fails.py").write_text(BOOT_FILE)
    deployment.configure("bootFile=fails.py")
    told = "ValueError: The model has 3 outputs, but the labels have 2: cat, dog Correct one of"
    said, _ = failed_up(deployment)
    assert told in said
    found = status(deployment)["job"]
    assert found["state"] == "failed"
    assert told in found["reason"]


@pytest.mark.parametrize(
    ("refusal", "reason", "hopeless"),
    [
        (POLICY, "a policy of the cluster refuses the pod: ValidatingAdmissionPolicy", True),
        (LIMITS, "a LimitRange refuses the pod: maximum memory usage per Container", True),
        (QUOTA, "the namespace's quota is used up: exceeded quota: small", False),
    ],
    ids=["policy", "limits", "quota"],
)
def test_a_job_that_may_have_no_pod_says_who_refuses_it(deployment, job, refusal, reason, hopeless):
    """There is no pod to look at; `status` said "no pod yet", and `up` nothing."""
    job.another_run()
    # The one before may count for a moment after it was deleted.
    eventually(lambda: not is_refused(deployment))
    with applied(deployment, refusal):
        # A policy is known to the API server some time after it was made.
        eventually(lambda: is_refused(deployment))
        if hopeless:
            said, seconds = failed_up(deployment)
            assert reason in said
        else:
            seconds = up_until(deployment, reason)
        assert seconds < SECONDS
        found = status(deployment)["job"]
        assert found["state"] == "pending"
        assert reason in found["reason"]


def test_a_job_whose_time_is_over_says_what_it_waited_for(deployment, job):
    deployment.configure("timeout=15s", "flavours.all.cpu=2", "flavours.all.memory=1Gi")
    deployment.configure("flavour=all")
    job.another_run()
    said, seconds = failed_up(deployment)
    assert "no node has room for its pod (0/1 nodes are available: 1 Insufficient cpu)" in said
    assert seconds < 60
    found = status(deployment)["job"]
    assert found["state"] == "failed"
    assert "dlstack:timeout" in found["reason"] and "Insufficient cpu" in found["reason"]
    deployment.configure("timeout=4m", "flavour=cpu-small")


def test_a_broken_model_ends_the_roll_out_and_the_old_version_serves_on(deployment, job):
    before = status(deployment)
    broken = b"no SavedModel"
    version = max(one["version"] for one in before["versions"]) + 1
    store, bucket = job.store(), f"{deployment.namespace}-output"
    folder = f"models/{job.model}/{version}"
    files = [
        {
            "path": "saved_model.pb",
            "size": len(broken),
            "sha256": hashlib.sha256(broken).hexdigest(),
        }
    ]
    run = before["versions"][0]["runHash"]
    manifest = {"model_name": job.model, "version": version, "run_hash": run, "files": files}
    manifest |= {"metrics": {}, "parameters": {}, "created": "2026-01-01T00:00:00+00:00"}
    for name, body in (
        (".claim", b"{}"),
        ("saved_model.pb", broken),
        ("manifest.json", json.dumps(manifest).encode()),
    ):
        store.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=body)
    deployment.configure(f"modelVersion={version}")
    said, seconds = failed_up(deployment)
    assert seconds < 240
    words = f"Loading servable {{name: {job.model} version: {version}}} failed"
    assert words in said and "dlstack:modelVersion" in said
    found = status(deployment)
    assert found["services"]["prediction"]["state"] == "failed"
    assert words in found["services"]["prediction"]["reason"]
    assert [one["version"] for one in found["versions"] if one["served"]] == [
        one["version"] for one in before["versions"] if one["served"]
    ]
    deployment.configure("modelVersion=")


def test_a_server_without_memory_for_its_model_names_the_flavour(deployment, job):
    version = next(one["version"] for one in status(deployment)["versions"] if one["served"])
    deployment.configure("flavours.tiny.cpu=0.1", "flavours.tiny.memory=64Mi")
    deployment.configure("servingFlavour=tiny", f"modelVersion={version}")
    said, seconds = failed_up(deployment)
    assert "used more memory than its" in said
    assert "Choose a bigger dlstack:servingFlavour" in said
    assert seconds < 120
    found = status(deployment)["services"]["prediction"]
    assert found["state"] == "failed"
    assert "used more memory than its" in found["reason"]
    deployment.configure("servingFlavour=cpu-small", "modelVersion=")
