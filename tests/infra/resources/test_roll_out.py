"""When a roll-out is over, has failed, or was undone. Waiting itself is for the real cluster."""

from typing import Any

import pytest

from infra.cluster import api
from infra.resources import roll_out
from infra.resources.roll_out import _RollOutProvider


def deployment(generation: int = 2, seen: int = 2, **status: Any) -> dict[str, Any]:
    counts = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": seen, **counts, **status},
    }


def test_is_over_when_every_pod_is_new_and_available() -> None:
    assert roll_out.is_complete(deployment())


@pytest.mark.parametrize(
    "unfinished",
    [
        deployment(generation=3),
        deployment(updatedReplicas=1),
        deployment(replicas=3),
        deployment(availableReplicas=1),
        {"metadata": {"generation": 1}, "spec": {"replicas": 1}},
    ],
    ids=["not seen yet", "an old pod", "one too many", "one not available", "no status yet"],
)
def test_is_not_over_before(unfinished: dict[str, Any]) -> None:
    assert not roll_out.is_complete(unfinished)


def test_has_failed_when_the_controller_gave_up_the_present_one() -> None:
    conditions = [{"reason": "ProgressDeadlineExceeded", "message": "timed out"}]
    assert roll_out.failure_of(deployment(conditions=conditions)) == "timed out"
    assert roll_out.failure_of(deployment(generation=3, conditions=conditions)) is None
    assert roll_out.failure_of(deployment()) is None


@pytest.mark.parametrize(("found", "generation"), [(deployment(4, 4), 4), (deployment(4, 3), 2)])
def test_a_refresh_waits_for_no_edit_that_was_taken_back(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], generation: int
) -> None:
    """Symptom: a store scaled to 0 and back by hand was a change for `up --refresh`."""
    found["metadata"]["uid"] = "1"
    monkeypatch.setattr(api, "get", lambda *_: found)
    props = {"cluster": {}, "namespace": "n", "deployment": "d", "uid": "1", "generation": 2}
    assert _RollOutProvider().read("n/d", props).outs["generation"] == generation
    assert _RollOutProvider().read("n/d", props | {"uid": "2"}).outs["generation"] == 2
