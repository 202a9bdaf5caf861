"""What a cluster is told, where that needs none."""

from local.home import Home
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
