"""Animated WebP files, at which TensorFlow's decoders write past their memory."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from PIL import Image
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2

from tests.serving.asking import http_call, refused
from tests.serving.conftest import predict_request, predict_stub
from tests.serving_fixtures import ModelServer, running_server

EXPORT = """
import sys
import tensorflow as tf

v1 = tf.compat.v1
with v1.Graph().as_default(), v1.Session() as session:
    files = v1.placeholder(tf.string, [None], "files")
    examples = v1.placeholder(tf.string, [None], "examples")
    parsed = v1.io.parse_example(examples, {"picture": v1.io.FixedLenFeature([], tf.string)})

    def values(pictures):
        decode = lambda one: tf.cast(tf.size(tf.io.decode_image(one)), tf.float32)
        return tf.map_fn(decode, pictures, fn_output_signature=tf.float32)

    def signature(method, inputs, outputs):
        info = v1.saved_model.utils.build_tensor_info
        sides = ({name: info(t) for name, t in side.items()} for side in (inputs, outputs))
        return v1.saved_model.build_signature_def(*sides, f"tensorflow/serving/{method}")

    scores = values(parsed["picture"])[:, None]
    builder = v1.saved_model.Builder(sys.argv[1])
    builder.add_meta_graph_and_variables(session, ["serve"], {
        "serving_default": signature("predict", {"file_bytes": files}, {"values": values(files)}),
        "classify": signature("classify", {"inputs": examples}, {"scores": scores}),
    })
    builder.save()
"""


def webp(mode: str, *, animated: bool) -> bytes:
    frames = [Image.new(mode, (40, 30), (60 * n, 0, 0, 90)[: len(mode)]) for n in range(3)]
    file = io.BytesIO()
    options = {"save_all": True, "append_images": frames[1:]} if animated else {}
    frames[0].save(file, "WEBP", **options)  # type: ignore[arg-type]
    return file.getvalue()


DEADLY = webp("RGB", animated=True)
TEXT = "has an animated WebP file without transparency, which TensorFlow can't decode"


@pytest.fixture(scope="module")
def decoding(tmp_path_factory: pytest.TempPathFactory, front_end: str) -> Iterator[ModelServer]:
    """A server of a model that decodes pictures, from files and from Examples."""
    base = tmp_path_factory.mktemp("decoding")
    subprocess.run([sys.executable, "-c", EXPORT, str(base / "1")], check=True)
    with running_server(base, "decoding") as server:
        yield server


def values(server: ModelServer, *files: bytes) -> list[float]:
    request = predict_request(server.name, file_bytes=np.array([*files, b""], object)[:-1])
    return list(predict_stub(server).Predict(request).outputs["values"].float_val)


def test_such_a_file_is_refused_with_words_and_the_server_stays(decoding: ModelServer) -> None:
    """TensorFlow 2.21 ended the process: "corrupted size vs. prev_size"."""
    for files in ([DEADLY], [webp("RGB", animated=False), DEADLY]):
        with pytest.raises(grpc.RpcError) as raised:
            values(decoding, *files)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert f"Input 'file_bytes' {TEXT}" in raised.value.details()
    body = {"instances": [{"b64": base64.b64encode(DEADLY).decode()}]}
    status, answer = http_call(decoding, "POST", "/v1/models/decoding:predict", body)
    assert status == 400 and TEXT in json.loads(answer)["error"]
    assert decoding.process.poll() is None


def test_it_is_found_within_an_example(decoding: ModelServer) -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "decoding", "classify"
    example = example_pb2.Example()
    example.features.feature["picture"].bytes_list.value.append(DEADLY)
    request.input.example_list.examples.append(example)
    code, text = refused(predict_stub(decoding).Classify, request)
    assert (code, TEXT in text) == ("INVALID_ARGUMENT", True)


def test_other_webp_files_are_decoded(decoding: ModelServer) -> None:
    found = values(
        decoding,
        webp("RGB", animated=False),
        webp("RGBA", animated=False),
        webp("RGBA", animated=True),
    )
    assert found == [40 * 30 * 3, 40 * 30 * 4, 3 * 40 * 30 * 4]


def test_a_model_that_decodes_nothing_gets_such_a_file_as_it_is(kinds: ModelServer) -> None:
    request = predict_request("kinds", "echo_string", x=np.array([DEADLY], object))
    [output] = predict_stub(kinds).Predict(request).outputs.values()
    assert list(output.string_val) == [DEADLY]
