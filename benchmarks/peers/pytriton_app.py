"""PyTriton: NVIDIA's Triton server (C++) in front of a function in Python."""

from __future__ import annotations

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from saved_model import BATCH_SECONDS, MOST_ROWS, PORT, Model

model = Model()


@batch
def infer(images: np.ndarray) -> dict:
    return {"probabilities": model(images)}


if __name__ == "__main__":
    config = TritonConfig(grpc_port=PORT, http_port=PORT + 1, metrics_port=PORT + 2)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="mnist",
            infer_func=infer,
            inputs=[Tensor(name="images", dtype=np.float32, shape=(784,))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=ModelConfig(
                # Of rows, where others count requests: 32 of them come in one.
                max_batch_size=32 * MOST_ROWS,
                batcher=DynamicBatcher(max_queue_delay_microseconds=round(BATCH_SECONDS * 1e6)),
            ),
        )
        triton.serve()
