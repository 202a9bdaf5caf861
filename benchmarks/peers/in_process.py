"""The limit: the same model called by TensorFlow in one process, without any server.

Prints one JSON object: rows per second at 1, 32 and 512 rows a call, each by the number of calling
threads that does best.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import numpy as np
from saved_model import Model


def rows_per_second(model: Model, rows: int, threads: int, seconds: float) -> float:
    """Call the model from so many threads; return what all of them get done."""
    images = np.random.default_rng(0).random((rows, 784), np.float32)
    for _ in range(10):
        model(images)
    calls = [0] * threads
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            model(images)
            calls[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(calls) * rows / (time.perf_counter() - started)


if __name__ == "__main__":
    served = Model()
    limits = {
        str(rows): max(
            rows_per_second(served, rows, threads, float(sys.argv[1]))
            for threads in {1, os.cpu_count() or 1}
        )
        for rows in (1, 32, 512)
    }
    print(json.dumps(limits))
