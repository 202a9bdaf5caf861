"""What the cluster is asked, against a small HTTP server in place of the API; and its nodes."""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pulumi
import pytest

from infra import s3
from infra.cluster import api as cluster
from infra.resources import credentials
from infra.settings import flavours
from infra.settings.flavours import Flavour, Taint, Toleration
from infra.settings.quantities import quantity
from tests.infra.conftest import FakeCluster, node

ANSWERS: dict[str, tuple[int, Any]] = {
    "/api/v1/nodes": (200, {"items": [node("one", "2", "8Gi")]}),
    "/api/v1/namespaces/stack/secrets/object-store": (
        200,
        {
            "data": {
                "AWS_ACCESS_KEY_ID": base64.b64encode(b"ACCESS").decode(),
                "AWS_SECRET_ACCESS_KEY": base64.b64encode(b"hunter2").decode(),
            }
        },
    ),
    "/forbidden": (403, {"kind": "Status"}),
}


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A kubeconfig with two contexts: `up` is a server that wants a token, `down` is none."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = ANSWERS.get(self.path, (404, {"kind": "Status"}))
            if self.headers["Authorization"] != "Bearer t0ken":
                status = 401
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        servers = {"up": f"http://127.0.0.1:{server.server_port}", "down": "http://127.0.0.1:9"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "up",
            "clusters": [
                {"name": name, "cluster": {"server": url}} for name, url in servers.items()
            ],
            "users": [{"name": "user", "user": {"token": "t0ken"}}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": "user"}} for name in servers
            ],
        }
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(file))
        yield file
        server.shutdown()


@pytest.mark.usefixtures("kubeconfig")
class TestGet:
    def test_an_object(self) -> None:
        assert [found.name for found in cluster.nodes("")] == ["one"]

    def test_of_what_is_not_there_is_none(self) -> None:
        assert cluster.get("", "/api/v1/namespaces/nobody") is None

    def test_of_what_is_forbidden_names_it(self) -> None:
        with pytest.raises(pulumi.RunError, match="refuses '/forbidden': 403"):
            cluster.get("", "/forbidden")

    def test_of_a_cluster_that_does_not_answer(self) -> None:
        with pytest.raises(
            pulumi.RunError, match=r"No Kubernetes answers at 'http://127.0.0.1:9': .*refused"
        ):
            cluster.get("down", "/api/v1/nodes")

    def test_of_a_context_that_is_not_there(self) -> None:
        with pytest.raises(pulumi.RunError, match="nowhere.* Set KUBECONFIG"):
            cluster.get("nowhere", "/api/v1/nodes")


def test_no_kubeconfig_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(pulumi.RunError, match="No Kubernetes cluster is configured"):
        cluster.get("", "/api/v1/nodes")


@pytest.mark.usefixtures("kubeconfig")
class TestCredentials:
    store = {"context": "", "namespace": "stack", "secret": "object-store"}

    def test_are_read_from_the_secret(self) -> None:
        assert credentials.read_credentials(self.store) == ("ACCESS", "hunter2")

    def test_that_are_gone_are_told_apart_from_a_cluster_that_is_down(self) -> None:
        with pytest.raises(s3.Gone, match="'object-store' .* not in the namespace 'other'"):
            credentials.read_credentials(self.store | {"namespace": "other"})
        with pytest.raises(pulumi.RunError):
            credentials.read_credentials(self.store | {"context": "down"})


def test_generated_credentials_are_made_once() -> None:
    provider = credentials._GeneratedCredentialsProvider()
    first, second = provider.create({}).outs, provider.create({}).outs
    assert first is not None
    assert first != second
    assert provider.diff("id", first, {}).changes is False
    assert provider.read("id", first).outs == first
    assert provider.update("id", first, {}).outs == first


class TestNodes:
    @pytest.mark.parametrize(
        "spec",
        [
            {"unschedulable": True},
            {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]},
        ],
    )
    def test_that_take_no_pods_do_not_count(
        self, fake_cluster: FakeCluster, spec: dict[str, Any]
    ) -> None:
        fake_cluster.nodes(node("big", "64", "512Gi", spec=spec), node("small", "2", "8Gi"))
        found = cluster.nodes("")
        assert found[0].name == "small"
        with pytest.raises(pulumi.RunError, match="The biggest, 'small', has 2 cores"):
            cluster.require_room(found, flavours.find("cpu-4", "flavour"), "flavour")

    def test_with_gpus_count_although_they_are_tainted(self, fake_cluster: FakeCluster) -> None:
        spec = {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}
        gpus = {"nvidia.com/gpu": "4"}
        fake_cluster.nodes(node("gpus", "32", "300Gi", spec=spec, resources=gpus))
        cluster.require_room(cluster.nodes(""), flavours.find("gpu-4", "flavour"), "flavour")

    def test_none_at_all_is_told(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.nodes()
        with pytest.raises(pulumi.RunError, match="no node that takes pods"):
            cluster.nodes("")

    def test_one_must_hold_it_all(self, fake_cluster: FakeCluster) -> None:
        """Two nodes with half of the cores each don't."""
        fake_cluster.nodes(node("one", "1", "64Gi"), node("two", "7900m", "16Gi"))
        with pytest.raises(pulumi.RunError, match=r"'cpu-8' \(8 cores, 64 GiB\) fits on no node"):
            cluster.require_room(cluster.nodes(""), flavours.find("cpu-8", "flavour"), "flavour")

    def test_together_hold_the_pods_of_several_workers(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.nodes(node("one", "3900m", "64Gi"), node("two", "4", "5Gi"))
        cpu = flavours.find("cpu", "dlstack:flavour")
        cluster.require_room(cluster.nodes(""), cpu, "dlstack:flavour", pods=5)
        problem = r"nodeCount is 6, but .* no more than 5 of dlstack:flavour 'cpu' .*add nodes"
        with pytest.raises(pulumi.RunError, match=problem):
            cluster.require_room(cluster.nodes(""), cpu, "dlstack:flavour", pods=6)

    def test_are_chosen_by_labels_and_taints(self, fake_cluster: FakeCluster) -> None:
        spec = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
        fake_cluster.nodes(
            node("open", "64", "512Gi"),
            node("ours", "8", "64Gi", labels={"pool": "ours"}, spec=spec),
        )
        one = {"name": "x", "cpu": 1, "memory_gib": 1, "memory_limit_gib": 1}
        ours = {"node_selector": {"pool": "ours"}, "own_tolerations": (Toleration(key="team"),)}
        nobody = (
            "'x' .* is taken by no node .* selects \\(pool=ours\\) and no taint that it doesn't"
        )
        with pytest.raises(pulumi.RunError, match=nobody):
            cluster.require_room(cluster.nodes(""), Flavour(**one, **ours), "flavour")
        ours["own_tolerations"] = (Toleration(key="team", value="a"),)
        cluster.require_room(cluster.nodes(""), Flavour(**one, **ours), "flavour", pods=8)
        with pytest.raises(pulumi.RunError, match="no more than 8"):
            cluster.require_room(cluster.nodes(""), Flavour(**one, **ours), "flavour", pods=9)

    @pytest.mark.parametrize(
        ("toleration", "covered"),
        [
            ({"operator": "Exists"}, True),
            ({"key": "gpu", "operator": "Exists"}, True),
            ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
            ({"key": "gpu", "value": "a100"}, True),
            ({"key": "gpu", "value": "a100", "effect": "NoSchedule"}, True),
            ({"key": "gpu"}, False),
            ({"key": "cpu", "operator": "Exists"}, False),
        ],
    )
    def test_taints_are_tolerated_as_in_kubernetes(
        self, toleration: dict[str, Any], covered: bool
    ) -> None:
        taint = Taint(key="gpu", value="a100", effect="NoSchedule")
        assert Toleration(**toleration).covers(taint) is covered

    def test_an_external_address_is_preferred(self, fake_cluster: FakeCluster) -> None:
        external = [
            {"type": "InternalIP", "address": "10.0.0.9"},
            {"type": "ExternalIP", "address": "203.0.113.9"},
        ]
        fake_cluster.nodes(node("a", "2", "8Gi"), node("b", "2", "8Gi", addresses=external))
        assert cluster.address(cluster.nodes("")) == "203.0.113.9"


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), ("1930m", 1.93), ("8Gi", 8 * 1024**3), ("1k", 1000)]
)
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == number
