"""Who may talk to whom, in the resource graph. Whether that suffices is for a real cluster."""

from typing import Any

import pytest

from tests.infra.conftest import Engine, Up

POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
STORE = {
    "s3Endpoint": "https://s3.example.com",
    "s3AccessKey": "ACCESS",
    "s3SecretKey": "hunter2",
}


def specs(engine: Engine) -> dict[str, Any]:
    """What a policy says, by its name."""
    return {one.inputs["metadata"]["name"]: one.inputs["spec"] for one in engine.created(POLICY)}


def ports(rule: dict[str, Any]) -> list[int]:
    return [one["port"] for one in rule["ports"]]


def test_only_pods_of_the_stack_reach_its_store_which_reaches_nobody(
    up: Up, engine: Engine
) -> None:
    up()
    spec = specs(engine)["object-store"]
    (rule,) = spec["ingress"]
    (caller,) = rule["from"]
    assert caller["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/instance": "dlstack-dev",
        "app.kubernetes.io/part-of": "dlstack",
    }
    assert ports(rule) == [8333]
    assert (spec["policyTypes"], spec["egress"]) == (["Ingress", "Egress"], [])


@pytest.mark.parametrize(
    ("name", "open_ports"), [("prediction", [8500, 8501, 8080, 9090]), ("tensorboard", [6006])]
)
def test_what_is_shown_is_open_and_reaches_the_store_and_its_name(
    up: Up, engine: Engine, name: str, open_ports: list[int]
) -> None:
    up()
    spec = specs(engine)[name]
    (rule,) = spec["ingress"]
    assert "from" not in rule and ports(rule) == open_ports
    to_store, to_name_servers, to_dns = spec["egress"]
    assert ports(to_store) == [8333]
    (store,) = to_store["to"]
    assert store["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "object-store"
    # Those of the embedded platform listen on 1053.
    (servers,) = to_name_servers["to"]
    assert servers == {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    assert "ports" not in to_name_servers
    assert "to" not in to_dns and set(ports(to_dns)) == {53, 5353}
    up(**STORE)
    assert specs(engine)[name]["egress"] == [{}], "a store of one's own may be anywhere"


@pytest.mark.parametrize(
    "settings",
    [
        {"tls": "true", "servingEngine": "tensorflow-serving"},
        {
            "serviceType": "Ingress",
            "host": "models.example.com",
            "tls": "true",
            "token": "0123456789abcdef",
        },
    ],
)
def test_the_server_s_rest_port_is_closed_where_the_gateway_locks_it(
    up: Up, engine: Engine, settings: dict[str, str]
) -> None:
    """TensorFlow Serving's has neither encryption nor a token, and listens to all."""
    up(**settings)
    (rule,) = specs(engine)["prediction"]["ingress"]
    assert ports(rule) == [8500, 8080, 9090]


def test_a_training_reaches_all_and_its_metrics_are_open(up: Up, engine: Engine) -> None:
    up()
    spec = specs(engine)["training"]
    assert spec["egress"] == [{}]
    assert [ports(rule) for rule in spec["ingress"]] == [[9090]]


def test_they_are_left_to_others_if_they_shall(up: Up, engine: Engine) -> None:
    up(networkPolicies="false")
    assert specs(engine) == {}


def test_a_stack_with_a_store_of_one_s_own_has_none_for_its_own(up: Up, engine: Engine) -> None:
    up(**STORE)
    assert specs(engine).keys() == {"prediction", "tensorboard", "training"}
