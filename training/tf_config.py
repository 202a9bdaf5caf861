"""TF_CONFIG: which of several workers a process is. Loads no TensorFlow."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from training.command_line import TrainingError


@dataclass(frozen=True)
class Cluster:
    """The workers that train one model together."""

    workers: int = 1
    index: int = 0
    """Of this one, from 0."""
    addresses: tuple[str, ...] = ()
    """Of all, each `host:port`; empty without others."""

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes checkpoints and scalars, and publishes."""
        return self.index == 0

    @classmethod
    def of_environment(cls) -> "Cluster":
        """Read TF_CONFIG; without it this is the only worker.

        Raises TrainingError unless it lists workers and says which of them this one is.
        """
        text = os.environ.get("TF_CONFIG", "")
        if not text:
            return cls()
        try:
            config = json.loads(text)
            addresses, task = config["cluster"]["worker"], config["task"]
            found = cls(len(addresses), int(task["index"]), tuple(map(str, addresses)))
            right = task["type"] == "worker" and list(config["cluster"]) == ["worker"]
        except (ValueError, KeyError, TypeError):
            right = False
        if not right or not 0 <= found.index < found.workers:
            raise TrainingError(
                f"TF_CONFIG is {text[:200]!r}. Give it the form {{'cluster': {{'worker': "
                "['host:port', ...]}, 'task': {'type': 'worker', 'index': 0}}, as JSON."
            )
        return found


def format_tf_config(addresses: Sequence[str], index: int) -> str:
    """Return TF_CONFIG for worker `index` of those that listen at `addresses`, each `host:port`."""
    return json.dumps(
        {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
    )
