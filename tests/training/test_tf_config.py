"""TF_CONFIG, as the agent writes it and boot files read it."""

import pytest

from training.command_line import TrainingError
from training.tf_config import Cluster, format_tf_config


def test_what_the_agent_writes_says_which_worker_a_boot_file_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", format_tf_config(["a:1", "b:2", "c:3"], 2))
    assert Cluster.of_environment() == Cluster(3, 2, ("a:1", "b:2", "c:3"))


def test_without_it_a_boot_file_is_the_only_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert Cluster.of_environment() == Cluster(workers=1, index=0)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainingError, match="TF_CONFIG is .* Give it the form"):
        Cluster.of_environment()
