"""Which line of a log names the failure."""

import textwrap

import pytest

from infra.cluster.last_words import last_words

TRACEBACK = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    train()
  File "train.py", line 2, in train
    raise ValueError(text)
"""
AGENT = """\
Ran boot file 'train.py' in 6.9 s
boot file 'train.py' exited with status 1
"""


def test_an_exception_stands_below_its_traceback_and_above_the_agents_lines() -> None:
    log = f"epoch 1\n{TRACEBACK}ValueError: no rows\n{AGENT}"
    assert last_words(log) == "ValueError: no rows"


def test_of_an_exception_with_several_lines_all_are_told() -> None:
    """It was the last line below an indented one: 'Check --classes.' or "Ran boot file …"."""
    text = (
        "ValueError: The model has 3 outputs,\n  but the labels have 2:\n  a, b\n\nSee --classes."
    )
    assert last_words(f"{TRACEBACK}{text}\n{AGENT}") == (
        "ValueError: The model has 3 outputs, but the labels have 2: a, b See --classes."
    )


def test_an_exception_without_a_text_is_its_class() -> None:
    assert last_words(f"{TRACEBACK}AssertionError\n{AGENT}") == "AssertionError"


def test_what_caused_an_exception_is_told_with_it() -> None:
    log = f"""\
{TRACEBACK}KeyError: 'label'

The above exception was the direct cause of the following exception:

{TRACEBACK}houses.BadTable: no such column
{AGENT}"""
    assert last_words(log) == "houses.BadTable: no such column (caused by KeyError: 'label')"


def test_of_exceptions_that_met_each_other_the_last_ended_the_process() -> None:
    log = f"""\
{TRACEBACK}KeyError: 'label'

During handling of the above exception, another exception occurred:

{TRACEBACK}OSError: disk full
"""
    assert last_words(log) == "OSError: disk full"


def test_a_log_whose_end_begins_within_a_traceback() -> None:
    """Kubernetes keeps the last 2 KiB of a log."""
    log = TRACEBACK.partition("\n")[2] + "ValueError: no rows\n" + AGENT
    assert last_words(log) == "ValueError: no rows"


@pytest.mark.parametrize(
    "noise",
    [
        "2026-01-15 10:00:00.123456: W tensorflow/core/framework/op_kernel.cc:1857] OP_REQUIRES",
        "W0000 00:00:1763000000.12 34 gpu_device.cc:2341] Cannot dlopen some GPU libraries.",
        "WARNING:absl:You are saving your model as an HDF5 file.",
        "/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: leaked",
    ],
)
def test_lines_of_libraries_are_not_part_of_an_exception_nor_the_last_words(noise: str) -> None:
    assert last_words(f"{TRACEBACK}ValueError: no rows\n{noise}\n{AGENT}") == "ValueError: no rows"
    assert last_words(f"no rows\n{noise}\n{AGENT}") == "no rows"


def test_an_exception_that_python_ignored_ended_nothing() -> None:
    log = f"""\
{TRACEBACK}ValueError: no rows
Exception ignored in: <function Pool.__del__ at 0x7f0>
{TRACEBACK}AttributeError: 'NoneType' object has no attribute 'dumps'
"""
    assert last_words(log) == "ValueError: no rows"


def test_an_error_line_of_the_agent_or_of_a_parser_of_arguments() -> None:
    assert last_words("epoch 1\nerror: Accuracy 0.84 is too low\n") == "Accuracy 0.84 is too low"
    usage = "usage: train.py [-h]\ntrain.py: error: unrecognized arguments: --classes=3\n"
    assert last_words(usage + AGENT).startswith(
        "unrecognized arguments: dlstack:runParameters.classes=3. The boot file doesn't take"
    )


def test_an_error_in_the_log_of_the_model_sync_as_text_or_as_json() -> None:
    text = "2026-01-15 10:00:00,123 E serving.sync: 1/a is not in the bucket."
    assert last_words(f"{text}\n") == "1/a is not in the bucket."
    record = '{"time": "T", "level": "ERROR", "logger": "serving.sync", "message": "No a."}'
    assert last_words(f"{record}\n") == "No a."


def test_of_an_error_line_and_an_exception_the_later_one() -> None:
    log = textwrap.dedent("error: can't read a.png, left out\n") + TRACEBACK
    assert last_words(f"{log}ValueError: no rows\n") == "ValueError: no rows"
    assert last_words(f"{TRACEBACK}ValueError: no rows\nerror: no model\n") == "no model"


def test_a_log_without_an_error_ends_with_its_last_line() -> None:
    assert last_words(f"epoch 1\nKilled\n{AGENT}") == "Killed"
    assert last_words(AGENT) == "boot file 'train.py' exited with status 1"
    assert last_words("") == ""


def test_a_long_text_is_cut() -> None:
    assert len(last_words(f"{TRACEBACK}ValueError: {'x' * 3000}\n")) == 400
