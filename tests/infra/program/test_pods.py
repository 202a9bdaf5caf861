"""What all pods of a stack have, in the resource graph: what a company's cluster asks of them."""

from typing import Any

import pulumi
import pytest

from tests.infra.conftest import STACK, Engine, FakeCluster, Up, node
from tests.infra.program.test_program import DEPLOYMENT, JOB

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses/"
PLACE = f"/api/v1/namespaces/{STACK}"


def templates(engine: Engine) -> dict[str, dict[str, Any]]:
    """Pod template by the name of what has it."""
    return {
        one.name: one.inputs["spec"]["template"]
        for type_ in (JOB, DEPLOYMENT)
        for one in engine.created(type_)
    }


@pytest.fixture
def pods(up: Up, engine: Engine, fake_cluster: FakeCluster) -> dict[str, dict[str, Any]]:
    fake_cluster.nodes(node("one", "4", "16Gi", labels={"pool": "ml"}))
    fake_cluster.answers[CLASSES + "low"] = {}
    up(
        imagePullSecrets="registry, other",
        serviceAccount="models",
        podLabels='{"team": "vision"}',
        podAnnotations='{"sidecar.istio.io/inject": "false"}',
        priorityClass="low",
        nodeSelector='{"pool": "ml"}',
        tolerations='[{"key": "ml", "operator": "Exists"}]',
    )
    found = templates(engine)
    assert found.keys() == {
        *("training-job", "prediction-server", "tensorboard-server", "object-store-server")
    }
    return found


def test_every_pod_has_what_all_have(pods: dict[str, dict[str, Any]]) -> None:
    for name, template in pods.items():
        metadata, spec = template["metadata"], template["spec"]
        assert metadata["labels"]["team"] == "vision", name
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "dlstack"
        assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"
        assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "other"}]
        assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("models", "low")
        assert spec["automountServiceAccountToken"] is False
        assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "ml"}
        assert {"key": "ml", "operator": "Exists"} in spec["tolerations"]


def test_the_stack_s_own_annotations_stay(pods: dict[str, dict[str, Any]]) -> None:
    assert "dlstack.dev/run-hash" in pods["training-job"]["metadata"]["annotations"]


def test_every_empty_volume_has_a_size(up: Up, engine: Engine) -> None:
    """Symptom otherwise: a policy of the cluster that refuses every pod."""
    up()
    for name, template in templates(engine).items():
        volumes = [one for one in template["spec"]["volumes"] if "emptyDir" in one]
        assert volumes, name
        assert all(one["emptyDir"]["sizeLimit"] for one in volumes), name


@pytest.mark.parametrize(("given", "user"), [(None, 65532), ("1000", 1000), ("assigned", None)])
def test_pods_run_as_the_user_that_is_set(
    up: Up, engine: Engine, given: str | None, user: int | None
) -> None:
    up(runAsUser=given)
    for template in templates(engine).values():
        context = template["spec"]["securityContext"]
        ids = [context.get(key) for key in ("runAsUser", "runAsGroup", "fsGroup")]
        assert ids == [user, user, user]
        assert context["runAsNonRoot"] is True


def test_openshift_gives_ids_unless_one_is_set(
    up: Up, engine: Engine, fake_cluster: FakeCluster
) -> None:
    """It refuses pods that say as whom they run, if that is not in the namespace's range."""
    fake_cluster.answers["/apis/security.openshift.io"] = {"kind": "APIGroup"}
    up()
    users = [one["spec"]["securityContext"].get("runAsUser") for one in templates(engine).values()]
    assert users == [None] * 4
    up(runAsUser="1000")
    users = [one["spec"]["securityContext"].get("runAsUser") for one in templates(engine).values()]
    assert users == [1000] * 4


def test_a_queue_is_the_job_s(up: Up, engine: Engine) -> None:
    up(queue="gpus")
    assert (
        engine.the(JOB, "training-job")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    )
    for template in templates(engine).values():
        assert "kueue.x-k8s.io/queue-name" not in template["metadata"]["labels"]


def test_another_place_of_all_pods_makes_another_attempt(up: Up, engine: Engine) -> None:
    """A Job's template can't be changed, and its name stays as long as its digest does."""
    digests = []
    for values in ({}, {"podLabels": '{"a": "b"}'}, {"queue": "gpus"}, {"runAsUser": "1000"}):
        up(**values)
        metadata = engine.the(JOB, "training-job")["metadata"]
        digests.append(metadata["annotations"]["dlstack.dev/settings"])
    assert len(set(digests)) == 4


def test_no_account_is_named_by_its_name(up: Up, engine: Engine) -> None:
    """Symptom: without the key pods kept the account of before, which Kubernetes remembers."""
    up()
    for name, template in templates(engine).items():
        assert template["spec"]["serviceAccountName"] == "default", name


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"serviceAccount": "models"}, "ServiceAccount in the namespace"),
        ({"priorityClass": "low"}, "PriorityClass"),
    ],
)
def test_what_no_pod_is_made_without_is_looked_for(
    up: Up, engine: Engine, fake_cluster: FakeCluster, settings: dict[str, str], told: str
) -> None:
    """Symptom: the store's old pod ended, and its new one was never made."""
    fake_cluster.answers[PLACE] = {"metadata": {"labels": {}}}
    (key, name) = next(iter(settings.items()))
    with pytest.raises(pulumi.RunError, match=f"dlstack:{key} is '{name}', and .* such {told}"):
        up(**settings)
    fake_cluster.answers[f"{PLACE}/serviceaccounts/models"] = {}
    fake_cluster.answers[CLASSES + "low"] = {}
    up(**settings)


def test_a_secret_for_a_registry_that_is_not_there_is_a_warning(
    up: Up, fake_cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    fake_cluster.answers[PLACE] = {"metadata": {"labels": {}}}
    up(imagePullSecrets="registry")
    assert "dlstack:imagePullSecrets names 'registry'" in caplog.text
