"""What the cluster is asked, against a small HTTP server in place of the API."""

from pathlib import Path

import pulumi
import pytest

from infra.cluster import api
from tests.infra.conftest import KubeApi


@pytest.mark.usefixtures("kube_api")
class TestGet:
    def test_an_object(self, kube_api: KubeApi) -> None:
        kube_api["/api/v1/nodes"] = (200, {"items": []})
        assert api.get("", "/api/v1/nodes") == {"items": []}

    def test_of_what_is_not_there_is_none(self) -> None:
        assert api.get("", "/api/v1/namespaces/nobody") is None

    def test_of_what_is_forbidden_names_it(self, kube_api: KubeApi) -> None:
        kube_api["/forbidden"] = (403, {"kind": "Status"})
        with pytest.raises(pulumi.RunError, match="refuses '/forbidden': 403"):
            api.get("", "/forbidden")

    def test_of_a_cluster_that_does_not_answer(self) -> None:
        with pytest.raises(
            pulumi.RunError, match=r"No Kubernetes answers at 'http://127.0.0.1:9': .*refused"
        ):
            api.get("down", "/api/v1/nodes")

    def test_of_a_context_that_is_not_there(self) -> None:
        with pytest.raises(pulumi.RunError, match="nowhere.* Set KUBECONFIG"):
            api.get("nowhere", "/api/v1/nodes")


class TestCreate:
    PATH = "/api/v1/namespaces/stack/configmaps"
    DOCUMENT = {"metadata": {"generateName": "training-"}}

    def test_returns_the_object_with_its_name(self, kube_api: KubeApi) -> None:
        kube_api[self.PATH] = (200, {"items": []})
        name = api.create("", self.PATH, self.DOCUMENT)["metadata"]["name"]
        assert name.startswith("training-")
        assert f"{self.PATH}/{name}" in kube_api

    def test_where_no_namespace_is(self, kube_api: KubeApi) -> None:
        with pytest.raises(pulumi.RunError, match=f"has no '{self.PATH}' to make an object in"):
            api.create("", self.PATH, self.DOCUMENT)

    def test_that_is_refused_says_why(self, kube_api: KubeApi) -> None:
        kube_api[self.PATH] = (403, {"message": "namespace stack is being terminated"})
        with pytest.raises(pulumi.RunError, match=r"refuses 'POST .*': 403 .*being terminated\)"):
            api.create("", self.PATH, self.DOCUMENT)


class TestDelete:
    def test_of_what_is_there_and_of_what_is_gone(self, kube_api: KubeApi) -> None:
        kube_api["/object"] = (200, {})
        api.delete("", "/object")
        assert "/object" not in kube_api
        api.delete("", "/object")

    def test_that_is_refused(self, kube_api: KubeApi) -> None:
        kube_api["/object"] = (403, {"kind": "Status"})
        with pytest.raises(pulumi.RunError, match="refuses 'DELETE /object': 403"):
            api.delete("", "/object")


def test_no_kubeconfig_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(pulumi.RunError, match="No Kubernetes cluster is configured"):
        api.get("", "/api/v1/nodes")
