"""What one `predict` and one `--help` cost as whole processes, beside tensorflow-serving-api.

    python benchmarks/client_start.py [--rounds 15] [--json FILE]

A server of a small model with MNIST's signatures runs meanwhile. All ways take turns in each round,
so that whatever else the machine does meets all of them. Printed are the median and the shortest
wall time in seconds; CPU time is that of the process and its children. The first round, which fills
caches, does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.serving_fixtures import export_mnist_like_model, running_server  # noqa: E402

#: The least that a client over the official package does for the same answer.
OFFICIAL = """
import sys
import grpc
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

path, address = sys.argv[1:]
pixels = np.asarray(Image.open(path).convert("L").resize((28, 28)), np.float32) / 255
request = predict_pb2.PredictRequest()
request.model_spec.name = "mnist"
request.model_spec.signature_name = "predict_object"
request.inputs["images"].CopyFrom(tf.make_tensor_proto(pixels.reshape(1, 784)))
with grpc.insecure_channel(address) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, 10)
print(tf.make_ndarray(response.outputs["predictions"])[0])
"""


class Cost(NamedTuple):
    """Of one process, in seconds."""

    wall: float
    cpu: float


def measure(command: Sequence[str], expected: str) -> Cost:
    """Run a command; its output has to hold `expected`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or expected not in done.stdout:
        raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu)


def draw(path: Path) -> None:
    """Draw what the model takes for a three."""
    import numpy as np
    from PIL import Image

    pixels = np.zeros(784, np.uint8)
    pixels[78 * 3 : 78 * 4] = 255
    Image.fromarray(pixels.reshape(28, 28)).save(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the client costs as a whole process.")
    parser.add_argument("--rounds", type=int, default=15, help="that count (default: 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as folder:
        base, picture = Path(folder) / "mnist", Path(folder) / "3.png"
        export_mnist_like_model(base / "1")
        draw(picture)
        with running_server(base) as server:
            python, ours = [sys.executable], [sys.executable, "-m", "client"]
            where = ["predict", str(picture), "--host=127.0.0.1", "--model=mnist"]
            address = f"127.0.0.1:{server.grpc_port}"
            commands = {
                "bare Python": ([*python, "-c", "print('bare')"], "bare"),
                "client --help": ([*ours, "--help"], "COMMAND"),
                "client predict, gRPC": ([*ours, *where, f"--port={server.grpc_port}"], ": 3"),
                "client predict, REST": (
                    [*ours, *where, "--transport=rest", f"--port={server.rest_port}"],
                    ": 3",
                ),
                "tensorflow-serving-api, gRPC": (
                    [*python, "-c", OFFICIAL, str(picture), address],
                    "3",
                ),
            }
            costs: dict[str, list[Cost]] = {name: [] for name in commands}
            for number in range(arguments.rounds + 1):
                for name, (command, expected) in commands.items():
                    cost = measure(command, expected)
                    if number:
                        costs[name].append(cost)
    figures = {
        name: {
            "median": statistics.median(cost.wall for cost in each),
            "shortest": min(cost.wall for cost in each),
            "cpu": statistics.median(cost.cpu for cost in each),
        }
        for name, each in costs.items()
    }
    print(f"{'':30} {'median':>8} {'shortest':>8} {'CPU':>8}")
    for name, figure in figures.items():
        print(f"{name:30} " + " ".join(f"{value:8.3f}" for value in figure.values()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
