"""What a stack says of itself, found in its namespace. What is in it: tests/infra/program."""

import pytest

from infra.cluster import api, description
from infra.cluster.clusters import Cluster

CLUSTER = Cluster(context="", uid="", server="")


@pytest.mark.parametrize("there", [None, {"data": {"stack": "music"}}])
def test_a_namespace_without_a_stack_says_nothing(
    monkeypatch: pytest.MonkeyPatch, there: object
) -> None:
    """A ConfigMap `stack` of somebody else ended `python -m infra` with a KeyError."""
    monkeypatch.setattr(api, "get", lambda *_: there)
    assert description.find(CLUSTER, "shop") is None
