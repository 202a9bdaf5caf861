"""Ray Serve: raw bytes over HTTP."""

from __future__ import annotations

import os
import signal

import numpy as np
import ray
from ray import serve
from ray.serve.config import HTTPOptions
from saved_model import BATCH_SECONDS, MOST_ROWS, PORT, from_bytes
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class Mnist:
    """One replica: on two cores a second one takes the first one's CPU."""

    def __init__(self) -> None:
        from saved_model import Model

        self.model = Model()

    @serve.batch(max_batch_size=MOST_ROWS, batch_wait_timeout_s=BATCH_SECONDS)
    async def predict(self, inputs: list) -> list:
        ends = np.cumsum([len(one) for one in inputs])[:-1]
        return np.split(self.model(np.concatenate(inputs)), ends)

    async def __call__(self, request: Request) -> Response:
        answer = await self.predict(from_bytes(await request.body()))
        return Response(answer.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    folder = os.path.dirname(os.path.abspath(__file__))
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        num_cpus=4,
        runtime_env={"env_vars": {"PYTHONPATH": folder}},
    )
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(Mnist.bind())
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    ray.shutdown()
