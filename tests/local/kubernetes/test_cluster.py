"""What a cluster is told, where that needs none."""

from types import SimpleNamespace

from local.home import Home
from local.kubernetes import memory
from local.kubernetes.cluster import Cluster


def test_other_name_servers_are_another_pod_of_coredns(tmp_path):
    cluster = Cluster(Home(tmp_path))
    cluster.folder.mkdir()
    texts = []
    for server in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        (cluster.folder / "resolv.conf").write_text(f"nameserver {server}\n")
        texts.append(cluster._coredns())
    assert texts[0] == texts[2] != texts[1]
    assert "${" not in texts[0]


def test_a_cluster_is_known_once_its_api_server_has_answered(tmp_path):
    """Symptom: an answer that took longer than two seconds left the cluster without identity."""
    cluster = Cluster(Home(tmp_path))
    cluster.folder.mkdir()
    answers = [None, b'{"metadata": {"uid": "fc8f"}}']
    cluster.__dict__["api"] = SimpleNamespace(get=lambda _: answers.pop(0))
    assert not cluster._keep_identity()
    assert memory.known(cluster.folder) is None
    assert cluster._keep_identity()
    assert memory.known(cluster.folder) == "fc8f"
