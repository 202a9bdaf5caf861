"""The toy run by several workers: their agents on this machine, and the boot files they start."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.ports import free_port
from tests.training.conftest import Bucket
from tests.training.toy_run import BOOT
from training.agent.membership import INDEX_VARIABLE

Worker = subprocess.Popen[str]

#: Leaves each worker's weights where the test finds them, and drops no units: each worker would
#: drop others than a single one does.
DISTRIBUTED_BOOT = (
    BOOT.replace("layers.Dropout(0.2),", "")
    .replace(
        "        run(\n",
        """        import pathlib
        built = []
        def remembered():
            built.append(model())
            return built[0]
        run(
""",
    )
    .replace("model_fn=model,", "model_fn=remembered,")
    .replace(
        "    return 0\n",
        """        trained = built[0].module.trainable_variables
        weights = np.concatenate([one.numpy().ravel() for one in trained])
        np.save(pathlib.Path(options.train_url) / "weights.npy", weights)
    return 0
""",
    )
)


def chief_address() -> str:
    """Return an address of this machine at which worker 0 may listen."""
    return f"127.0.0.1:{free_port()}"


def start_worker(
    job: Bucket, index: int, chief: str, *arguments: str, count: int = 2, **options: str
) -> Worker:
    """Start the agent of one of `count` workers, which meet at `chief`."""
    command = job.agent(*arguments, workers=str(count), chief=chief, **options)
    return job.start(command, {INDEX_VARIABLE: str(index)})


def ends(workers: Sequence[Worker]) -> list[tuple[str, str, int]]:
    """Output, errors and exit status of each."""
    found = []
    for worker in workers:
        with worker:
            try:
                output, errors = worker.communicate(timeout=250)
            finally:
                worker.kill()
        found.append((output, errors, worker.returncode))
    return found


def weights(
    bucket: Bucket, prefix: str, folder: Path
) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    file = folder / "weights.npy"
    file.write_bytes(bucket.get(f"{prefix}/weights.npy"))
    found: np.ndarray[tuple[int], np.dtype[np.float32]] = np.load(file)
    return found
