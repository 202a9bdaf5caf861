"""Training runs side by side: states, sorting, differences and tables, from records of the test's
own. What bucket and cluster say together: test_status.py and tests/cluster/."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pytest

from infra.commands import choosing, comparison, runs, runs_text, tables
from infra.commands.job_state import JobState
from infra.commands.runs import Known, Run, Version
from infra.run import run_record
from infra.run.run_record import Record, progress_text

BEGAN = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
NOW = BEGAN + timedelta(minutes=10)
HASH = "5a1d" * 16


def record(run_hash: str = HASH, **more: Any) -> Record:
    document = {
        "format": 1,
        "run_hash": run_hash,
        "model_name": "mnist",
        "parameters": {"rate": "0.1"},
        "boot_file": "train.py",
        "nodes": 1,
        "attempt": 2,
        "started": BEGAN.isoformat(),
        "attempt_started": (BEGAN + timedelta(minutes=2)).isoformat(),
        "earlier_seconds": 30.0,
        "written": (BEGAN + timedelta(minutes=5)).isoformat(),
        "state": "running",
        "seconds": {"train": 3.0},
        "provenance": {"image": "one", "code_sha256": "a", "data_sha256": "d"},
        "sources": {"code": {"train.py": "1", "net.py": "2"}},
        **more,
    }
    found = run_record.parse(json.dumps(document).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    "more",
    [
        {"progress": {"done": 0, "total": 0, "unit": "steps", "at": BEGAN.isoformat()}},
        {"progress": {"done": 1, "total": float("inf"), "unit": "steps", "at": BEGAN.isoformat()}},
        {"version": "one"},
        {"earlier_seconds": 10**400},
        {"provenance": "text"},
        {"sources": {"code": 3}},
    ],
)
def test_a_record_that_makes_no_sense_is_none(more: dict[str, Any]) -> None:
    """Symptom otherwise: one object in the bucket, and `infra runs` ends with a traceback."""
    good = record()
    assert run_record.parse(json.dumps({**good.document, **more}).encode()) is None
    assert run_record.parse(b"[" * 100_000) is None


def test_values_of_users_stay_in_their_cells() -> None:
    one = run_of(record(parameters={"prompt": "a\nb\x1b[2J", "größe": "ü"}, metrics={"a\nb": 1.5}))
    other = run_of(record("ab" * 32, metrics={"a\nb": float("nan"), "text": "no number"}))
    table = runs_text.runs_text([one, other], None, NOW)
    assert len(table.splitlines()) == 5
    assert "a\\nb\\x1b[2J" in table and "größe" in table
    for width in (20, 200):
        for text in (
            runs_text.runs_text([one, other], width, NOW),
            runs_text.run_text(one, width, NOW),
            runs_text.two_runs_text(one, other, width),
        ):
            assert "\x1b" not in text
    assert "prompt a\\nb" in runs_text.run_text(one, 200, NOW)


def ended(state: str, run_hash: str = HASH, **more: Any) -> Record:
    return record(run_hash, state=state, ended=(BEGAN + timedelta(minutes=3)).isoformat(), **more)


def job(state: Any, attempt: int = 2, reason: str = "") -> JobState:
    return JobState("training-1", HASH, attempt, 1, state, reason, BEGAN.isoformat(), 65.0)


def run_of(one: Record, *published: Version, jobs: tuple[JobState, ...] = ()) -> Run:
    known = Known(one.run_hash[:12], one.written, one)
    return runs.runs([known], jobs, published, NOW)[0]


FAILED = {"cause": "boot file 'train.py' exited with status 1", "last_lines": "ValueError: no\n"}


@pytest.mark.parametrize(
    ("one", "its_job", "state", "cause"),
    [
        (record(), job("running"), "running", ""),
        (record(), None, "lost", "its Job is gone, and it never said how it ended"),
        (record(), job("failed", reason="exit status 137 (OOMKilled)"), "killed", "exit status 1"),
        (record(), job("cancelled"), "cancelled", ""),
        (record(), job("succeeded"), "succeeded", ""),
        (record(), job("pending", 3, "no room"), "pending", "no room"),
        (ended("failed", **FAILED), job("failed", reason="cut"), "failed", "boot file 'train.py'"),
        (ended("failed", **FAILED), None, "failed", FAILED["cause"]),
        (ended("failed", **FAILED), job("running"), "running", ""),
        (ended("interrupted"), job("failed", reason="longer than"), "failed", "longer than"),
        (ended("interrupted", cause="SIGTERM"), None, "interrupted", "SIGTERM"),
        (ended("succeeded"), job("failed", 1, "an older one"), "succeeded", ""),
        (None, job("failed", reason="old"), "failed", "old"),
        (None, None, "succeeded", ""),
    ],
)
def test_how_a_run_is_follows_from_its_record_and_its_job(
    one: Record | None, its_job: JobState | None, state: str, cause: str
) -> None:
    found = runs.state_of(one, its_job, published=True)
    assert found[0] == state and found[1].startswith(cause)


def test_the_cause_has_the_line_that_says_most_of_the_log() -> None:
    """Of an exception with indented lines of its own the pod's last words had one of these."""
    lines = "x = 1\n" * 20 + "Traceback (most recent call last):\n  File\nAssertionError: untracked"
    lines += "\n\tFunction name = f\nRan boot file 'train.py' in 6.9 s\n"
    cause = ended("failed", **{**FAILED, "last_lines": lines}).cause
    assert cause == f"{FAILED['cause']}: AssertionError: untracked Function name = f"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 2}', b"\xff"])
def test_what_is_no_record_is_none(content: bytes) -> None:
    assert run_record.parse(content) is None


def test_all_attempts_together_are_the_duration() -> None:
    assert run_of(ended("succeeded")).seconds == 30 + 60
    assert run_of(record(), jobs=(job("running"),)).seconds == 30 + 8 * 60
    assert run_of(record(), jobs=(job("failed"),)).seconds == 30 + 65


def test_a_run_of_an_earlier_dlstack_is_shown_as_far_as_it_is_known() -> None:
    manifest = {"parameters": {"rate": "1"}, "seconds": {"train": 40.0, "publish": 2.0}}
    created = (BEGAN + timedelta(seconds=42)).isoformat()
    version = Version(
        3, HASH, {"loss": 0.1}, created, model="houses", document={**manifest, "created": created}
    )
    (found,) = runs.runs([Known(HASH[:12], NOW, None)], [], [version], NOW)
    assert (found.model, found.state, found.version) == ("houses", "succeeded", version)
    assert (found.started, found.seconds, found.parameters) == (BEGAN, 42.0, {"rate": "1"})
    (unknown,) = runs.runs([Known("abc", NOW, None)], [], [], NOW)
    assert (unknown.state, unknown.model, unknown.parameters) == ("", "", None)


def test_a_run_that_waits_for_its_first_pod_is_shown() -> None:
    (found,) = runs.runs([], [job("pending", 1, "no node has room")], [], NOW)
    assert (found.run, found.state, found.cause) == (HASH[:12], "pending", "no node has room")


def test_a_run_shows_what_it_published_under_another_models_name() -> None:
    """Symptom: "nothing", after `modelName` had changed."""
    one = run_of(
        ended("succeeded", model_name="houses"),
        Version(2, HASH, {}, BEGAN.isoformat(), model="houses"),
        Version(7, HASH, {}, NOW.isoformat(), model="mnist"),
    )
    text = runs_text.runs_text([one], None, NOW)
    assert "2, mnist 7" in text


def three() -> list[Run]:
    return [
        run_of(ended("succeeded", "a" * 64, metrics={"loss": 0.25, "accuracy": 0.9, "steps": 937})),
        run_of(
            ended(
                "failed", "b" * 64, parameters={"rate": "10", "epochs": "3"}, **FAILED,
                progress={"done": 2.4, "total": 10, "unit": "epochs", "at": NOW.isoformat()},
            )
        ),
        run_of(ended("succeeded", "c" * 64, parameters={"rate": "2"}, metrics={"loss": 0.125})),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("by", "order"),
    [("loss", "cab"), ("-loss", "acb"), ("rate", "acb"), ("-rate", "bca"), ("epochs", "bac")],
)
def test_runs_are_sorted_by_a_metric_or_a_parameter_and_those_without_it_come_last(
    by: str, order: str
) -> None:
    assert "".join(run.run[0] for run in choosing.in_order(three(), by)) == order


def test_what_no_run_has_is_told_with_what_they_have() -> None:
    with pytest.raises(pulumi.RunError, match="metric or parameter 'f1'. Use one of: started, d"):
        choosing.in_order(three(), "-f1")
    with pytest.raises(pulumi.RunError, match="'x' has no run. Runs are known of: mnist"):
        choosing.of_model(three(), "x")


def test_a_wide_table_has_columns_for_what_differs_and_for_metrics() -> None:
    lines = runs_text.runs_text(three(), 160, NOW).splitlines()
    assert lines[0].split()[5:] == ["duration", "epochs", "rate", "loss", "accuracy"]
    # What the trainer notes down beside the metrics is not among them.
    assert lines[1].split()[-3:] == ["0.1", "0.25", "0.9"]
    assert lines[3] == (
        "    boot file 'train.py' exited with status 1: ValueError: no (at epoch 3 of 10 (24 %))"
    )


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_a_narrow_one_has_the_same_and_is_no_wider(width: int) -> None:
    text = runs_text.runs_text(three(), width, NOW, "loss")
    # Columns that name a run stay whole.
    assert max(map(len, text.splitlines())) <= max(width, 82)
    words = text.split()
    for word in ("0.25", "0.125", "0.9", "10", "ValueError:", "epoch"):
        assert word in words


def test_the_metric_that_runs_are_sorted_by_has_the_first_column() -> None:
    heading = runs_text.runs_text(three(), None, NOW, "-accuracy").splitlines()[0].split()
    assert heading[6] == "accuracy"


def test_one_run_is_shown_whole() -> None:
    text = runs_text.run_text(three()[1], 80, NOW)
    assert "epochs 3" in text and "rate 10" in text and "ValueError: no" in text
    assert "train 3.0 s" in text and "epoch 3 of 10 (24 %)" in text


def test_two_runs_show_what_differs_and_nothing_else() -> None:
    one = run_of(ended("succeeded", "a" * 64, metrics={"loss": 0.25}, commit="c0ffee"))
    other = run_of(
        ended(
            "succeeded",
            "b" * 64,
            parameters={"rate": "0.2"},
            metrics={"loss": 0.125},
            commit="c0ffee",
            provenance={"image": "two", "code_sha256": "b", "data_sha256": "e"},
            sources={"code": {"train.py": "3", "new.py": "4"}},
        )
    )
    found = comparison.as_json(comparison.differences(one, other))
    assert found == {
        "settings": {"image": ["one", "two"]},
        "parameters": {"rate": ["0.1", "0.2"]},
        "metrics": {"loss": [0.25, 0.125]},
        "files": {
            "code": {"net.py": "gone", "new.py": "new", "train.py": "changed"},
            # Their paths are not known.
            "data": {},
        },
        "unknown": [],
    }
    text = runs_text.two_runs_text(one, other, 80)
    assert "net.py (gone), new.py (new), train.py" in text and "-0.125" in text
    assert "boot file" not in text
    same = runs_text.two_runs_text(one, run_of(ended("succeeded", "c" * 64)), 80)
    assert "commit" in same and "rate" not in same


def test_variables_that_differ_are_shown() -> None:
    """Symptom: of two runs with other values in `env`, both were "given the same"."""
    one = run_of(ended("succeeded", provenance={"env": {"LEVEL": "1"}, "secret_env": ["TOKEN"]}))
    other = run_of(ended("succeeded", provenance={"env": {"LEVEL": "2"}}))
    assert comparison.differences(one, other).settings == {
        "env.LEVEL": ("1", "2"),
        "secretEnv.TOKEN": ("(secret)", None),
    }
    assert "Both were given" not in runs_text.two_runs_text(one, other, 80)
    assert "env.LEVEL 1\n" in runs_text.run_text(one, 80, NOW)


def test_two_runs_of_the_same_say_so() -> None:
    text = runs_text.two_runs_text(run_of(ended("succeeded")), run_of(ended("succeeded")), 80)
    assert "Both were given the same" in text


def test_a_run_that_says_nothing_of_itself_can_not_be_compared() -> None:
    (unknown,) = runs.runs([Known("abc", NOW, None)], [], [], NOW)
    text = runs_text.two_runs_text(unknown, run_of(ended("succeeded")), None)
    assert "Of the run abc neither parameters nor files are known" in text


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"done": 300, "total": 1000, "unit": "steps"}, "step 300 of 1000 (30 %)"),
        ({"done": 0, "total": 10, "unit": "epochs"}, "epoch 1 of 10 (0 %)"),
        ({"done": 10, "total": 10, "unit": "epochs"}, "epoch 10 of 10 (100 %)"),
        (
            {"done": 2.2, "total": 10, "unit": "epochs",
             "end": (NOW + timedelta(minutes=4)).isoformat()},
            "epoch 3 of 10 (22 %), about 4 min left, until ",
        ),
        (
            {"done": 3, "total": 10, "unit": "steps", "end": BEGAN.isoformat()},
            "step 3 of 10 (30 %)",
        ),
    ],
)  # fmt: skip
def test_how_far_a_run_is_in_words(told: dict[str, Any], text: str) -> None:
    progress = record(progress={"at": NOW.isoformat(), **told}).progress
    assert progress is not None
    assert progress_text(progress, NOW).startswith(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12, "10 s"), (58, "1 min"), (250, "4 min"), (7400, "2 h"), (9000, "2 h 30 min"),
     (400000, "5 days")],
)  # fmt: skip
def test_an_estimate_has_few_digits(seconds: float, text: str) -> None:
    assert run_record.rough_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(41.2, "41 s"), (185, "3 min 5 s"), (7400, "2 h 3 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert tables.duration(seconds) == text


def test_times_are_the_readers_own_and_say_the_zone() -> None:
    assert tables.moment(BEGAN) == BEGAN.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "57")
    assert tables.terminal_width() == 57
    monkeypatch.setenv("COLUMNS", "")
    assert tables.terminal_width() is None


def test_a_cell_without_room_goes_on_in_its_column_or_below() -> None:
    rows = [("name", "why"), ("job", "a text of some words " * 3)]
    assert tables.table(rows, 40, heading=True, wrapped=1) == (
        "name  why\njob   a text of some words a text of\n      some words a text of some words"
    )
    assert tables.table(rows, 24, heading=True, wrapped=1) == (
        "name\njob\n    a text of some words\n    a text of some words\n    a text of some words"
    )
