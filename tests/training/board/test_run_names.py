"""What TensorBoard calls a run, from the runs' records."""

from typing import Any

import pytest

from training.board.hparams import event_file
from training.board.run_names import Known, names


def known(run: str, hour: int = 10, state: str = "running", **parameters: str) -> Known:
    found = Known.of(
        run,
        {
            "format": 1,
            "model_name": "mnist",
            "started": f"2026-03-01T{hour}:30:00+01:00",
            "parameters": parameters,
            "state": state,
        },
    )
    assert found is not None
    return found


def named(*runs: Known) -> list[str]:
    return list(names({one.run: one for one in runs}).values())


def test_a_name_has_start_model_hash_and_parameters() -> None:
    assert named(known("5a1dcbe51b2c", rate="0.1", epochs="3"), known("98cea5fe6114", 12)) == [
        "2026-03-01 09:30Z mnist 5a1dcb epochs=3, rate=0.1",
        "2026-03-01 11:30Z mnist 98cea5",
    ]


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_one_that_has_not_ended_well_says_so(state: str) -> None:
    assert named(known("5a1dcbe51b2c", state=state)) == [
        f"2026-03-01 09:30Z mnist 5a1dcb ({state})"
    ]


def test_a_long_name_has_what_is_another_than_before_in_front() -> None:
    many = {f"parameter_{number}": "same" for number in range(20)}
    first, second = named(known("a" * 12, 10, **many, zz="1"), known("b" * 12, 11, **many, zz="2"))
    assert "zz=2, parameter_0=same" in second and second.endswith("…")
    assert "zz" not in first and len(second) == len(first) == 120


def test_a_later_run_changes_no_name() -> None:
    one = known("a" * 12, rate="1")
    assert named(one)[0] == named(one, known("b" * 12, 12, rate="2"))[0]


def test_a_name_is_that_of_a_folder() -> None:
    (name,) = named(known("a" * 12, path="s3://data/one\n", wide="ä" * 200))
    assert "/" not in name and "\n" not in name and len(name.encode()) < 230


def test_what_tensorboard_can_not_hold_is_left_out_or_replaced() -> None:
    """Symptom otherwise: one record in the bucket, and the mirror of all runs ends."""
    document = {
        "format": 1,
        "model_name": "mn\ud800ist",
        "started": "2026-03-01T10:30:00+01:00",
        "ended": "2026-03-01T10:31:00+01:00",
        "parameters": {"p\udfff": "\ud800"},
        "state": "succeeded",
        "metrics": {"text": "no number", "list": [1], "\ud800": 1e300, "loss": float("nan")},
    }
    found = Known.of("a" * 12, document)
    assert found is not None
    assert (found.model, found.parameters, set(found.metrics)) == (
        "mn?ist",
        {"p?": "?"},
        {"?", "loss"},
    )
    assert event_file(found)
    assert Known.of("a" * 12, {**document, "metrics": {"loss": 10**400}}) is None


@pytest.mark.parametrize("document", [None, [], {}, {"format": 2}, {"format": 1, "model_name": 1}])
def test_what_is_no_record_is_unknown(document: Any) -> None:
    assert Known.of("a", document) is None
