"""MLServer: the open inference protocol over gRPC, with raw tensors."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from saved_model import BATCH_SECONDS, MOST_ROWS, PORT, Model


class Mnist(MLModel):
    """A custom runtime, as MLServer's documentation shows it."""

    async def load(self) -> bool:
        self._served = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("probabilities", self._served(images))
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    """Serve in one process: its workers would copy every request between processes."""
    rest, metrics = PORT + 1, PORT + 2
    server = MLServer(
        Settings(
            debug=False,
            host="127.0.0.1",
            http_port=rest,
            grpc_port=PORT,
            metrics_port=metrics,
            parallel_workers=int(os.environ.get("BENCHMARK_WORKERS", "0")),
            grpc_max_message_length=-1,
            metrics_endpoint=None,
        )
    )
    model = ModelSettings(
        name="mnist",
        implementation=Mnist,
        parameters=ModelParameters(uri=str(Path(__file__).parent)),
        max_batch_size=MOST_ROWS,
        max_batch_time=BATCH_SECONDS,
    )
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(main())
