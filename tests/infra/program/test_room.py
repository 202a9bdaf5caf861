"""What a cluster without room for the stack's pods means for an `up`."""

from pathlib import Path

import pulumi
import pytest

from infra.cluster import api
from infra.program import data_room
from tests.infra.conftest import Engine, FakeCluster, Up, node
from tests.infra.program.conftest import Deployed
from tests.infra.program.test_program import JOB

CLOUD = {"providerID": "aws:///eu-central-1a/i-1"}


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, *_: told.append(text))
    return told


def test_a_pool_that_scales_from_zero_is_waited_for(
    up: Up, engine: Engine, fake_cluster: FakeCluster, warnings: list[str]
) -> None:
    fake_cluster.nodes(node("one", "4", "16Gi", spec=CLOUD))
    up(flavour="gpu-4")
    assert engine.created(JOB)
    (told,) = [text for text in warnings if "too big for every node" in text]
    assert told.endswith("The pods are made, and wait until a node takes them.")


def test_who_sets_a_start_timeout_has_nodes_made_on_demand(
    up: Up, engine: Engine, fake_cluster: FakeCluster, warnings: list[str]
) -> None:
    fake_cluster.nodes(node("one", "4", "16Gi"))
    up(flavour="gpu-4", startTimeout="20m")
    assert engine.created(JOB) and "too big" in warnings[0]
    assert (
        engine.the("pulumi-python:dynamic/training:RunEnd", "training-end")["start_seconds"] == 1200
    )


def test_a_node_that_is_cordoned_comes_back(
    up: Up, engine: Engine, fake_cluster: FakeCluster, warnings: list[str]
) -> None:
    fake_cluster.nodes(
        node("one", "1", "1Gi"), node("two", "8", "64Gi", spec={"unschedulable": True})
    )
    up(flavour="cpu-4")
    assert engine.created(JOB) and "too big" in warnings[0]
    with pytest.raises(pulumi.RunError, match="The biggest, 'two', has 8 cores"):
        up(flavour="gpu-4")


def test_a_job_that_is_there_needs_no_room(
    up: Up, engine: Engine, deployed: Deployed, warnings: list[str]
) -> None:
    """Symptom otherwise: a pool that has shrunk since refuses each later `up`."""
    deployed.cluster.nodes(node("one", "0.5", "1Gi"))
    up()
    assert engine.the(JOB, "training-job") == deployed.job
    assert not warnings


class TestADataSetThatIsLarge:
    """It has to have room on the disk of the node, and is fetched by each pod."""

    @pytest.fixture(autouse=True)
    def every_one_is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(data_room, "_LEAST_BYTES", 1)

    @staticmethod
    def requests(engine: Engine) -> dict[str, str]:
        (container,) = engine.the(JOB, "training-job")["spec"]["template"]["spec"]["containers"]
        assert "ephemeral-storage" not in container["resources"]["limits"]
        return dict(container["resources"]["requests"])

    def test_is_reserved_for_on_the_nodes_disk(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        """Symptom: pods were evicted, one after the other, and each fetched all of it again."""
        disk = {"ephemeral-storage": "100Gi"}
        fake_cluster.nodes(node("one", "4", "16Gi", resources=disk))
        up()
        assert self.requests(engine)["ephemeral-storage"] == "2048Mi"

    def test_is_told_where_no_node_has_so_much(self, up: Up, fake_cluster: FakeCluster) -> None:
        disk = {"ephemeral-storage": "1Gi"}
        fake_cluster.nodes(node("one", "4", "16Gi", resources=disk))
        with pytest.raises(
            pulumi.RunError,
            match=r"No node has the disk for dlstack:dataDir .*2 GiB. The biggest, of 'one', has 1",
        ):
            up()

    def test_reserves_nothing_where_nodes_say_nothing_of_disks_or_it_is_streamed(
        self, up: Up, engine: Engine, fake_cluster: FakeCluster
    ) -> None:
        up()
        assert "ephemeral-storage" not in self.requests(engine)
        fake_cluster.nodes(node("one", "4", "16Gi", resources={"ephemeral-storage": "1Gi"}))
        up(dataMode="stream")
        assert "ephemeral-storage" not in self.requests(engine)

    def test_has_what_the_job_has_that_is_there(
        self, up: Up, engine: Engine, deployed: Deployed
    ) -> None:
        """Else a node that comes or goes would be another Job."""
        deployed.cluster.nodes(node("one", "4", "16Gi", resources={"ephemeral-storage": "9Gi"}))
        up()
        assert engine.the(JOB, "training-job") == deployed.job

    def test_is_refused_where_the_flavours_own_disk_is_smaller(
        self, up: Up, fake_cluster: FakeCluster, project: Path
    ) -> None:
        (project / "data" / "large").write_bytes(bytes(70 * 2**20))
        flavours = '{"tiny": {"cpu": 1, "memory": "2Gi", "disk": "64Mi"}}'
        with pytest.raises(pulumi.RunError, match=r"'tiny' has a disk of 0.0625 GiB, and dlstack"):
            up(flavour="tiny", flavours=flavours)


def test_who_may_not_list_nodes_names_the_host(
    up: Up, engine: Engine, monkeypatch: pytest.MonkeyPatch, fake_cluster: FakeCluster
) -> None:
    def get(cluster, path: str):  # type: ignore[no-untyped-def]
        if path == "/api/v1/nodes":
            raise api.Forbidden("refused")
        return fake_cluster.get(cluster, path)

    monkeypatch.setattr(api, "get", get)
    with pytest.raises(pulumi.RunError, match="Set dlstack:host"):
        up()
    up(host="models.example.com")
    assert engine.created(JOB)
