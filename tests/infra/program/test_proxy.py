"""The proxy of pods in the resource graph: who gets it, and what it changes."""

import json
from typing import Any

from pulumi.runtime import rpc

from tests.infra.conftest import STACK, Engine, Up
from tests.infra.program.test_program import DEPLOYMENT, JOB, SECRET, containers

PROXY = {"httpsProxy": "http://proxy.example:3128", "noProxy": ".example.com"}


def specs(engine: Engine) -> dict[str, Any]:
    found = [(r.name, r.inputs["spec"]) for kind in (DEPLOYMENT, JOB) for r in engine.created(kind)]
    return dict(found)


def test_what_reaches_a_store_or_the_world_takes_it_from_a_secret(up: Up, engine: Engine) -> None:
    up()
    pods = [engine.the(JOB, "training-job")]
    pods += [engine.the(DEPLOYMENT, f"{name}-server") for name in ("tensorboard", "prediction")]
    proxied = {name for pod in pods for name, one in containers(pod).items() if "envFrom" in one}
    assert proxied == {"training", "mirror", "sync"}
    assert containers(pods[0])["training"]["envFrom"] == [
        {"secretRef": {"name": "proxy", "optional": True}}
    ]


def test_the_secret_is_there_if_there_is_a_proxy(up: Up, engine: Engine) -> None:
    up()
    assert [r.name for r in engine.created(SECRET)] == ["object-store"]
    up(proxy=json.dumps(PROXY))
    secret = engine.the(SECRET, "proxy")
    assert secret["metadata"]["name"] == "proxy"
    variables = rpc.unwrap_rpc_secret(secret["stringData"])
    assert variables["https_proxy"] == variables["HTTPS_PROXY"] == PROXY["httpsProxy"]
    host = f"object-store.{STACK}.svc"
    assert any(host.endswith(word) for word in variables["no_proxy"].split(","))
    assert ".example.com" in variables["NO_PROXY"].split(",")


def test_another_one_trains_nothing_again(up: Up, engine: Engine) -> None:
    """Only what runs for ever starts anew: TensorBoard's mirror."""
    up()
    without = specs(engine)
    up(proxy=json.dumps(PROXY))
    with_one = specs(engine)
    up(proxy=json.dumps({"httpsProxy": "http://other:1"}))
    with_another = specs(engine)
    for before, after in ((without, with_one), (with_one, with_another)):
        changed = {name for name, spec in after.items() if before[name] != spec}
        assert changed == {"tensorboard-server"}
    assert "proxy.example" not in json.dumps(with_one)
