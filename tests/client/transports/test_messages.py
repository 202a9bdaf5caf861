"""The messages without TensorFlow: the same as the official ones, and at peace with them.

What is done with them over the wire is in calls/test_client.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: Round trip through the client's message and, where TensorFlow is imported, through its own.
_USE_OURS = """
import numpy as np
from client import Client
from client._transports.messages import PredictRequest, PredictResponse
from client._transports.tensors import decode, encode
request = PredictRequest()
request.model_spec.name = "mnist"
encode(np.arange(6, dtype=np.float32).reshape(2, 3), "float32", request.inputs["images"])
Client("127.0.0.1", "mnist").close()
"""
_USE_OFFICIAL = """
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
"""
_COMPARE = """
official = predict_pb2.PredictRequest.FromString(request.SerializeToString())
assert official.model_spec.name == "mnist"
assert tf.make_ndarray(official.inputs["images"]).tolist() == [[0, 1, 2], [3, 4, 5]]
response = predict_pb2.PredictResponse()
for name, value in {
    "float": tf.make_tensor_proto([1.5, 2.5]),
    "half": tf.make_tensor_proto(np.array([1.5, 2.5], np.float16)),
    "zeros": tf.make_tensor_proto(0, dtype=tf.int64, shape=[2]),
    "same": tf.make_tensor_proto(7, dtype=tf.int32, shape=[2]),
    "text": tf.make_tensor_proto(["a", "b"]),
}.items():
    response.outputs[name].CopyFrom(value)
ours = PredictResponse.FromString(response.SerializeToString())
decoded = {name: decode(name, proto).tolist() for name, proto in ours.outputs.items()}
assert decoded == {
    "float": [1.5, 2.5],
    "half": [1.5, 2.5],
    "zeros": [0, 0],
    "same": [7, 7],
    "text": [b"a", b"b"],
}, decoded
"""


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["ours", "TensorFlow's"])
def test_they_live_in_one_process_with_tensorflow_whichever_comes_first(first: str) -> None:
    pieces = (_USE_OURS, _USE_OFFICIAL) if first == "ours" else (_USE_OFFICIAL, _USE_OURS)
    run("".join(pieces) + _COMPARE)


@pytest.mark.slow
def test_they_are_the_installed_official_ones() -> None:
    """Fails when tensorflow-serving-api was updated: run make_messages.py beside this then."""
    run(
        "from pathlib import Path\n"
        "from tests.client.transports.make_messages import TARGET, official_descriptors\n"
        "assert TARGET.read_bytes() == official_descriptors()\n"
    )
