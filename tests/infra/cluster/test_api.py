"""What the cluster is asked, against a small HTTP server in place of the API."""

import json
import os
from pathlib import Path

import pulumi
import pytest

from infra.cluster import api
from infra.cluster.clusters import Cluster
from tests.infra.conftest import ANY_CLUSTER, KubeApi
from tests.recording_proxy import RecordingProxy


@pytest.mark.usefixtures("kube_api")
class TestGet:
    def test_an_object(self, kube_api: KubeApi) -> None:
        kube_api["/api/v1/nodes"] = (200, {"items": []})
        assert api.get(ANY_CLUSTER, "/api/v1/nodes") == {"items": []}

    def test_of_this_machine_asks_no_proxy(
        self, kube_api: KubeApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kube_api["/api/v1/nodes"] = (200, {"items": []})
        with RecordingProxy() as proxy:
            for name in ("HTTP_PROXY", "http_proxy"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            assert api.get(ANY_CLUSTER, "/api/v1/nodes") == {"items": []}
            assert not proxy.asked

    def test_of_what_is_not_there_is_none(self) -> None:
        assert api.get(ANY_CLUSTER, "/api/v1/namespaces/nobody") is None

    def test_of_what_is_forbidden_names_it(self, kube_api: KubeApi) -> None:
        kube_api["/forbidden"] = (403, {"kind": "Status"})
        with pytest.raises(pulumi.RunError, match="refuses '/forbidden': 403.*clusters.md.$"):
            api.get(ANY_CLUSTER, "/forbidden")

    def test_of_a_cluster_that_does_not_answer(self) -> None:
        with pytest.raises(
            pulumi.RunError, match=r"No Kubernetes answers at 'http://127.0.0.1:9': .*refused"
        ):
            api.get(ANY_CLUSTER | {"context": "down"}, "/api/v1/nodes")

    def test_of_a_context_that_is_not_there(self) -> None:
        with pytest.raises(pulumi.RunError, match="nowhere.* Set KUBECONFIG"):
            api.get(ANY_CLUSTER | {"context": "nowhere"}, "/api/v1/nodes")


class TestCreate:
    PATH = "/api/v1/namespaces/stack/configmaps"
    DOCUMENT = {"metadata": {"name": "training-1"}}

    def test_says_whether_it_was_there_already(self, kube_api: KubeApi) -> None:
        kube_api[self.PATH] = (200, {"items": []})
        assert api.create(ANY_CLUSTER, self.PATH, self.DOCUMENT)
        assert f"{self.PATH}/training-1" in kube_api
        assert not api.create(ANY_CLUSTER, self.PATH, self.DOCUMENT)

    def test_where_no_namespace_is(self, kube_api: KubeApi) -> None:
        with pytest.raises(pulumi.RunError, match=f"has no '{self.PATH}' to make an object in"):
            api.create(ANY_CLUSTER, self.PATH, self.DOCUMENT)

    def test_that_is_refused_says_why(self, kube_api: KubeApi) -> None:
        kube_api[self.PATH] = (403, {"message": "namespace stack is being terminated"})
        with pytest.raises(pulumi.RunError, match=r"refuses 'POST .*': 403 .*being terminated\)"):
            api.create(ANY_CLUSTER, self.PATH, self.DOCUMENT)


class TestDelete:
    def test_of_what_is_there_and_of_what_is_gone(self, kube_api: KubeApi) -> None:
        kube_api["/object"] = (200, {})
        api.delete(ANY_CLUSTER, "/object")
        assert "/object" not in kube_api
        api.delete(ANY_CLUSTER, "/object")

    def test_that_is_refused(self, kube_api: KubeApi) -> None:
        kube_api["/object"] = (403, {"kind": "Status"})
        with pytest.raises(pulumi.RunError, match="refuses 'DELETE /object': 403"):
            api.delete(ANY_CLUSTER, "/object")


class TestPatch:
    def test_of_what_is_there_and_of_what_is_gone(self, kube_api: KubeApi) -> None:
        kube_api["/object"] = (200, {"metadata": {"name": "a"}})
        api.patch(ANY_CLUSTER, "/object", {"metadata": {"uid": "1"}})
        assert kube_api["/object"][1] == {"metadata": {"name": "a", "uid": "1"}}
        api.patch(ANY_CLUSTER, "/nobody", {"metadata": {}})


class TestTheCluster:
    @pytest.fixture(autouse=True)
    def cluster(self, kube_api: KubeApi) -> None:
        kube_api["/api/v1/namespaces/kube-system"] = (200, {"metadata": {"uid": "here"}})
        kube_api["/object"] = (200, {})

    def test_is_known_by_its_uid(self, kube_api: KubeApi) -> None:
        found = api.identify("up")
        assert (found["context"], found["uid"]) == ("up", "here")
        assert found["server"].startswith("http://127.0.0.1:")
        assert api.get(found, "/object") == {}

    def test_is_looked_at_once(self, kube_api: KubeApi) -> None:
        cluster = api.identify("up")
        assert api.get(cluster, "/object") == {}
        del kube_api["/api/v1/namespaces/kube-system"]
        assert api.get(cluster, "/object") == {}

    def test_that_is_another_one_is_not_asked(self, kube_api: KubeApi) -> None:
        """Symptom otherwise: `pulumi refresh` takes what is in the right one for gone."""
        there = Cluster(context="up", uid="there", server="https://there:6443")
        for call in (api.get, api.delete):
            with pytest.raises(
                pulumi.RunError,
                match=r"in the cluster 'https://there:6443' \(UID there\), but the context 'up' .* "
                r"leads to 'http://127.0.0.1:\d+' \(UID here\)\. Set KUBECONFIG or kubernetes:",
            ):
                call(there, "/object")
        assert "/object" in kube_api


def test_a_command_that_gives_a_token_is_asked_once_and_again_when_it_is_refused(
    tmp_path: Path, kube_api: KubeApi
) -> None:
    """Symptom: each request and each connection to the store ran a cloud's command for a second."""
    calls = tmp_path / "calls"
    command = tmp_path / "token"
    command.write_text(
        f"""#!/bin/sh
        echo >> {calls}
        token=$([ $(wc -l < {calls}) = 1 ] && echo old || echo t0ken)
        echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
        echo '"status": {{"token": "'$token'"}}}}'
        """
    )
    command.chmod(0o755)
    file = Path(os.environ["KUBECONFIG"])
    config = json.loads(file.read_text())
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(command)}
    config["users"] = [{"name": "user", "user": {"exec": {**run, "interactiveMode": "Never"}}}]
    file.write_text(json.dumps(config))
    kube_api["/object"] = (200, {"kind": "Object"})
    with pytest.raises(pulumi.RunError, match="401"):
        api.get(ANY_CLUSTER, "/object")
    for _ in range(3):
        assert api.get(ANY_CLUSTER, "/object") == {"kind": "Object"}
    assert calls.read_text().count("\n") == 2


def test_no_kubeconfig_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(pulumi.RunError, match="No Kubernetes cluster is configured"):
        api.get(ANY_CLUSTER, "/api/v1/nodes")


def test_of_several_kubeconfigs_the_first_ones_context_is_asked(
    tmp_path: Path, kube_api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As kubectl does, and the stack's provider: else objects would go to another cluster.
    kube_api["/object"] = (200, {"kind": "Object"})
    cluster = {"name": "last", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "last", "context": {"cluster": "last", "user": ""}}
    last = {"clusters": [cluster], "contexts": [context], "current-context": "last"}
    (tmp_path / "last").write_text(json.dumps(last))
    monkeypatch.setenv("KUBECONFIG", f"{os.environ['KUBECONFIG']}:{tmp_path / 'last'}")
    assert api.get(ANY_CLUSTER, "/object") == {"kind": "Object"}


def test_a_given_namespace_is_known_by_its_own_uid(kube_api: KubeApi) -> None:
    """A user without rights outside of it may not see `kube-system`."""
    kube_api["/api/v1/namespaces/kube-system"] = (403, {"message": "forbidden"})
    kube_api["/api/v1/namespaces/team"] = (200, {"metadata": {"uid": "ns-1"}})
    cluster = api.identify("up", "team")
    assert (cluster["uid"], cluster["namespace"]) == ("ns-1", "team")
    assert api.get(cluster, "/api/v1/namespaces/team") is not None
    kube_api["/api/v1/namespaces/team"] = (200, {"metadata": {"uid": "ns-2"}})
    api._known.clear()
    with pytest.raises(pulumi.RunError, match="namespace 'team' of UID ns-1, .* has the UID ns-2"):
        api.get(cluster, "/api/v1/namespaces/team")


def test_a_given_namespace_that_is_not_there_is_asked_for(kube_api: KubeApi) -> None:
    with pytest.raises(pulumi.RunError, match="no namespace 'team', and dlstack:createNamespace"):
        api.identify("up", "team")
