"""Clients that others wrote, used as their documentation says: no stub or helper of ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap

import grpc
import pytest
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.serving_fixtures import ModelServer, running_server


def test_reflection_is_enough_to_call_predict(kinds: ModelServer) -> None:
    """What grpcurl does: all types come from the server, none from this process."""
    database = ProtoReflectionDescriptorDatabase(kinds.channel)
    assert {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    } <= set(database.get_services())
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("tensorflow.serving.PredictionService")
    method = service.FindMethodByName("Predict")
    request = GetMessageClass(method.input_type)()
    request.model_spec.name = "kinds"
    request.model_spec.signature_name = "echo_int64"
    request.inputs["x"].dtype = 9
    request.inputs["x"].int64_val.append(7)
    call = kinds.channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    assert call(request).outputs["y"].int64_val == [7]


def test_the_health_service_can_be_checked_and_watched(kinds: ModelServer) -> None:
    stub = health_pb2_grpc.HealthStub(kinds.channel)
    request = health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService")
    assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(request)
    assert next(iter(watch)).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nope"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_asyncio_client_of_tensorflow_serving_api(kinds: ModelServer) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.model_spec.signature_name = "echo_int64"
    request.inputs["x"].dtype = 9
    request.inputs["x"].tensor_shape.dim.add(size=2)
    request.inputs["x"].int64_val.extend([1, 2])

    async def ask() -> list[predict_pb2.PredictResponse]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{kinds.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return await asyncio.gather(*(stub.Predict(request) for _ in range(20)))

    answers = asyncio.run(ask())
    assert [list(answer.outputs["y"].int64_val) for answer in answers] == [[1, 2]] * 20


def test_requests(kinds: ModelServer) -> None:
    with requests.Session() as session:
        session.trust_env = False
        url = f"{kinds.rest_url}/v1/models/kinds"
        body = {"signature_name": "echo_float32", "instances": [[1.0, 2.0]]}
        answer = session.post(f"{url}:predict", json=body)
        assert (answer.status_code, answer.json()) == (200, {"predictions": [[1.0, 2.0]]})
        assert answer.headers["Content-Type"] == "application/json"
        state = session.get(url).json()["model_version_status"][0]["state"]
        assert state == "AVAILABLE"


def test_curl(kinds: ModelServer) -> None:
    done = subprocess.run(
        ["curl", "-s", "--noproxy", "*", "-w", "\n%{http_code} %{content_type}", "-d",
         '{"signature_name": "add", "inputs": {"a": [[1, 2]], "b": [[3, 4]]}}',
         "-X", "POST", f"{kinds.rest_url}/v1/models/kinds/versions/3:predict"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    assert status == "200 application/json"
    assert json.loads(body)["outputs"]["sum"] == [[4.0, 6.0]]


def test_channel_arguments_reach_grpc(kinds: ModelServer) -> None:
    """A limit that TensorFlow Serving does not have by default, set by its flag."""
    flags = ["--grpc_channel_arguments=grpc.max_receive_message_length=1000,grpc.name=x"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.model_spec.signature_name = "echo_float32"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    with running_server(kinds.base_path, "kinds", flags) as server:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
        assert stub.Predict(request).outputs["y"].float_val == [0]
        request.inputs["x"].tensor_content = bytes(2000)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.slow
def test_the_client_of_tensorflow_servings_tutorial(mnist: ModelServer) -> None:
    """With TensorFlow's own `make_tensor_proto` and `make_ndarray`; its import takes seconds."""
    code = f"""
        import grpc
        import numpy as np
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        channel = grpc.insecure_channel("127.0.0.1:{mnist.grpc_port}")
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        picture = np.zeros((2, 784), np.float32)
        picture[0, 78 * 4 : 78 * 5] = picture[1, 78 * 9 : 78 * 10] = 1
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "mnist"
        request.model_spec.signature_name = "serving_default"
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(picture, shape=[2, 784]))
        result = stub.Predict(request, 60.0)
        print(tf.make_ndarray(result.outputs["predictions"]).tolist())
        print(tf.make_ndarray(result.outputs["probabilities"]).shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=90
    )
    assert done.stdout == "[4, 9]\n(2, 10)\n", done.stderr
