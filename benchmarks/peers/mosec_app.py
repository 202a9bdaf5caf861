"""mosec: raw bytes over HTTP, collected into batches by its server in Rust for one worker."""

from __future__ import annotations

import numpy as np
from mosec import Server, Worker
from saved_model import BATCH_SECONDS, MOST_ROWS, Model, from_bytes


class Mnist(Worker):
    """One process: on two cores a second one takes the first one's CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def deserialize(self, data: bytes) -> np.ndarray:
        return from_bytes(data)

    def forward(self, data: list) -> list:
        ends = np.cumsum([len(one) for one in data])[:-1]
        return np.split(self.model(np.concatenate(data)), ends)

    def serialize(self, data: np.ndarray) -> bytes:
        return data.tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Mnist, max_batch_size=MOST_ROWS, max_wait_time=max(1, round(BATCH_SECONDS * 1000))
    )
    server.run()
