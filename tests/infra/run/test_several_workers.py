"""What is said before several workers train a model of their own each."""

from pathlib import Path

import pulumi
import pytest

from infra.run import several_workers


def told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, node_count: int = 2
) -> list[str]:
    (folder / "train.py").write_text(text)
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    several_workers.check(folder, ["train.py"], node_count)
    return warnings


@pytest.mark.parametrize(
    "text",
    [
        "from training.trainer import run",
        "from training import export, trainer",
        "from training import keras_workers\nfrom training.keras_callback import JobCallback",
        "os.environ['TF_CONFIG']",
        "tf.distribute.MultiWorkerMirroredStrategy()",
        "import torch.distributed as dist",
    ],
)
def test_code_that_knows_of_the_others_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert told(tmp_path, monkeypatch, text) == []


def test_code_that_does_not_is_reported_and_a_callback_without_the_workers_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = "import keras\nmodel.fit(x, y)"
    (warning,) = told(tmp_path, monkeypatch, plain)
    assert "nodeCount is 2" in warning and "only the first one's is published" in warning
    assert told(tmp_path, monkeypatch, plain, node_count=1) == []
    callback = "from training.keras_callback import JobCallback"
    with pytest.raises(pulumi.RunError, match="nodeCount is 2, but 'fit' would train a model"):
        told(tmp_path, monkeypatch, callback)
    assert told(tmp_path, monkeypatch, callback, node_count=1) == []
