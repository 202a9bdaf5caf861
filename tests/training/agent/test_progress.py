"""How far a run is, from the lines that it prints."""

import pytest

from training.agent.progress import Progress


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def after(*lines: str) -> tuple[float, int, str] | None:
    progress = Progress()
    for line in lines:
        progress.sees(line)
    done = progress.now
    return None if done is None else (done.done, done.total, done.unit)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("step 300/1000  loss 0.1  accuracy 0.97  900 steps/s", (300, 1000, "steps")),
        ("Step 300 of 1000", (300, 1000, "steps")),
        ("  steps: 7/9", (7, 9, "steps")),
        ("Epoch 3/10", (2, 10, "epochs")),
        ("\x1b[1mEpoch 3/10\x1b[0m", (2, 10, "epochs")),
        ("Epoch [1/5], Loss: 0.3", (0, 5, "epochs")),
        ("epoch 0/5", (0, 5, "epochs")),
    ],
)
def test_a_line_that_begins_with_a_count_says_it(
    line: str, expected: tuple[float, int, str]
) -> None:
    assert after(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "at step 300/1000",
        "step 300",
        "Going on from the checkpoint of step 300",
        "stepping 3/4",
        "step 5/4",
        "step 0/0",
        "45/235 downloads",
        "steps_per_second 3/4",
        "",
    ],
)
def test_no_other_line_does(line: str) -> None:
    assert after(line) is None


def test_keras_bars_say_how_far_an_epoch_is() -> None:
    bar = "\x1b[1m47/235\x1b[0m \x1b[32m━━━━\x1b[0m\x1b[37m━━━━━━\x1b[0m \x1b[1m3s\x1b[0m 12ms/step"
    assert after("Epoch 3/10", bar) == (2.2, 10, "epochs")
    assert after("Epoch 3/10", "235/235 - 3s - 12ms/step - loss: 0.1") == (3, 10, "epochs")


def test_the_bar_of_an_evaluation_takes_nothing_back() -> None:
    assert after("Epoch 10/10", "5/5 ━━━ 1s", "1/20 ━━━ 0s") == (10, 10, "epochs")


def test_steps_that_begin_anew_in_each_epoch_count_within_it() -> None:
    assert after("Epoch 1/4", "step 10/100") == (0.1, 4, "epochs")
    assert after("Epoch 3/4", "step 50/100") == (2.5, 4, "epochs")


def test_steps_that_go_through_all_epochs_count_by_themselves() -> None:
    assert after("Epoch 3/4", "step 250/400", "Epoch 4/4") == (250, 400, "steps")


def test_the_end_follows_from_the_speed_of_this_attempt() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.sees("step 900/1000")
    assert progress.now is not None and progress.now.end is None
    clock.seconds = 2
    progress.sees("step 910/1000")
    assert progress.now.end is not None
    assert (progress.now.end - progress.now.at).total_seconds() == pytest.approx(18)


def test_a_slow_beginning_is_forgotten() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.sees("step 0/1000")
    for second in range(1, 41):
        clock.seconds = 10 + second
        progress.sees(f"step {second * 10}/1000")
    assert progress.now is not None and progress.now.end is not None
    assert (progress.now.end - progress.now.at).total_seconds() == pytest.approx(60, abs=1)


def test_a_boot_file_that_begins_again_begins_to_count_again() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.sees("step 900/1000")
    clock.seconds = 5
    progress.sees("step 100/1000")
    assert progress.now is not None
    assert (progress.now.done, progress.now.end) == (100, None)


def test_an_end_that_is_ages_away_is_not_told() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.sees("step 0/99999999999999999999999")
    clock.seconds = 5
    assert progress.sees("step 1/99999999999999999999999")
    assert progress.now is not None and progress.now.end is None
