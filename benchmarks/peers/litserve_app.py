"""LitServe: JSON only; the pixels as base64 inside it, far faster to parse than numbers."""

from __future__ import annotations

import base64

import litserve
import numpy as np
from saved_model import BATCH_SECONDS, MOST_ROWS, PORT, Model, from_bytes


class Api(litserve.LitAPI):
    """Batches by request, so the pictures of one batch are joined here."""

    def setup(self, device: str) -> None:
        self.model = Model()

    def decode_request(self, request: dict) -> np.ndarray:
        return from_bytes(base64.b64decode(request["images"]))

    def batch(self, inputs: list) -> tuple:
        return np.concatenate(inputs), np.cumsum([len(one) for one in inputs])[:-1]

    def predict(self, batch: tuple) -> list:
        images, ends = batch
        return np.split(self.model(images), ends)

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output: np.ndarray) -> dict:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    api = Api(max_batch_size=MOST_ROWS, batch_timeout=BATCH_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    server.run(host="127.0.0.1", port=PORT, log_level="warning", generate_client_file=False)
