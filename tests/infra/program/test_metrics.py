"""How Prometheus finds the numbers of a stack's pods, in the resource graph."""

from typing import Any

import pulumi
import pytest

from infra.components import scraping
from infra.program import stack
from tests.infra.conftest import Engine, FakeCluster, Up
from tests.infra.program.test_pods import templates
from tests.infra.program.test_program import JOB

MONITOR = "kubernetes:monitoring.coreos.com/v1:PodMonitor"
KINDS = "/apis/monitoring.coreos.com/v1"
ANNOTATIONS = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": "9090",
    "prometheus.io/path": "/metrics",
}
SHOWING = {"training-job", "prediction-server"}


def containers(template: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in template["spec"]["containers"]}


def ports(template: dict[str, Any]) -> set[tuple[str, int]]:
    """Container and number of the ports with numbers."""
    return {
        (name, port["containerPort"])
        for name, one in containers(template).items()
        for port in one.get("ports", ())
        if port["name"] == "metrics"
    }


def annotated(engine: Engine) -> set[str]:
    return {
        name
        for name, template in templates(engine).items()
        if ANNOTATIONS.items() <= (template["metadata"].get("annotations") or {}).items()
    }


def with_operator(cluster: FakeCluster) -> None:
    kinds = [{"name": "podmonitors", "kind": "PodMonitor"}]
    cluster.answers[KINDS] = {"kind": "APIResourceList", "resources": kinds}


def test_annotations_tell_of_the_port_where_no_operator_is(up: Up, engine: Engine) -> None:
    up()
    found = templates(engine)
    assert annotated(engine) == SHOWING
    assert ports(found["training-job"]) == {("training", 9090)}
    assert ports(found["prediction-server"]) == {("gateway", 9090)}
    prediction = containers(found["prediction-server"])
    assert "--metrics_port=9090" in prediction["gateway"]["command"]
    assert "--metrics_port=9090" in containers(found["training-job"])["training"]["command"]
    (flag,) = [
        one for one in prediction["server"]["command"] if one.startswith("--monitoring_config_file")
    ]
    (mount,) = [one for one in prediction["server"]["volumeMounts"] if one["name"] == "monitoring"]
    assert flag.partition("=")[2] == f"{mount['mountPath']}/monitoring.config"
    data = engine.the("kubernetes:core/v1:ConfigMap", "prediction-monitoring")["data"]
    assert data == {"monitoring.config": "prometheus_config { enable: true }\n"}
    assert engine.created(MONITOR) == []


def test_a_pod_monitor_does_where_its_kind_is(
    up: Up, engine: Engine, fake_cluster: FakeCluster
) -> None:
    with_operator(fake_cluster)
    up(metricsLabels='{"release": "prometheus"}')
    (monitor,) = engine.created(MONITOR)
    assert monitor.inputs["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor.inputs["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": "metrics", "path": "/metrics"}
    wanted = monitor.inputs["spec"]["selector"]["matchLabels"].items()
    for name in SHOWING:
        template = templates(engine)[name]
        assert wanted <= template["metadata"]["labels"].items()
        assert ports(template)
    assert annotated(engine) == {"training-job"}


def test_a_pod_monitor_that_the_cluster_does_not_know_is_refused(up: Up) -> None:
    with pytest.raises(pulumi.RunError, match="does not know the kind PodMonitor. Have the"):
        up(metrics="podMonitor")


@pytest.mark.parametrize("chosen", ["annotations", "off"])
def test_the_configuration_has_the_last_word(
    up: Up, engine: Engine, fake_cluster: FakeCluster, chosen: str
) -> None:
    with_operator(fake_cluster)
    up(metrics=chosen)
    assert annotated(engine) == (SHOWING if chosen == "annotations" else set())
    assert not engine.created(MONITOR)
    if chosen == "off":
        for template in templates(engine).values():
            assert not ports(template)
            commands = [one["command"] for one in containers(template).values()]
            assert not [word for words in commands for word in words if "_port=9090" in str(word)]


def test_an_operator_that_comes_leaves_a_training_alone(
    up: Up, engine: Engine, fake_cluster: FakeCluster
) -> None:
    """A Job's template can't be changed: another one would begin anew."""

    def job() -> tuple[str, dict[str, str]]:
        up()
        made = engine.the(JOB, "training-job")
        annotations = made["spec"]["template"]["metadata"]["annotations"]
        return str(made["metadata"]["annotations"]["dlstack.dev/settings"]), annotations

    before = job()
    assert before[1]["prometheus.io/port"] == str(scraping.PORT)
    with_operator(fake_cluster)
    assert job() == before


def test_prometheus_reaches_workers_at_that_port_alone(up: Up, engine: Engine) -> None:
    up(nodeCount="2")
    policy = engine.the("kubernetes:networking.k8s.io/v1:NetworkPolicy", "training-workers-only")
    others = [one for one in policy["spec"]["ingress"] if "from" not in one]
    assert others == [{"ports": [{"port": scraping.PORT}]}]


def test_the_cluster_is_asked_once_for_it(
    up: Up, fake_cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    get = fake_cluster.get

    def noting(cluster: Any, path: str) -> dict[str, Any] | None:
        asked.append(path)
        return get(cluster, path)

    monkeypatch.setattr(stack.api, "get", noting)
    up(metrics="annotations")
    assert KINDS not in asked
    up()
    assert asked.count(KINDS) == 1
    with_operator(fake_cluster)
    up()
    assert asked.count(KINDS) == 2
