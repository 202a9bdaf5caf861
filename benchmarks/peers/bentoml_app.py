"""BentoML: an array in JSON, or as BentoML's own clients in Python send it, pickled."""

from __future__ import annotations

import bentoml
import numpy as np
from saved_model import Model


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1024})
class Mnist:
    """Adaptive batching along the first axis."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=2048, max_latency_ms=1000)
    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.model(np.asarray(images, np.float32))
