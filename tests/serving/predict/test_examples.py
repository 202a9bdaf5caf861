"""Classify, Regress and MultiInference over gRPC; classify and regress over REST.

The model: y = x * w + shift, `pos` scores y, `neg` scores 1 - y; see `serving_fixtures`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow_serving.apis.prediction_service_pb2_grpc as stubs
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from tests.serving.asking import http_call, refused
from tests.serving.conftest import served
from tests.serving_fixtures import ModelServer, running_server

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def example(**features: float | bytes | int) -> example_pb2.Example:
    made = example_pb2.Example()
    for name, value in features.items():
        feature = made.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return made


def request(kind: Any, signature: str = "", *given: example_pb2.Example) -> Any:
    made = kind()
    made.model_spec.name = "examples"
    made.model_spec.signature_name = signature
    made.input.example_list.examples.extend(given)
    return made


def classification(signature: str = "", *given: example_pb2.Example) -> Any:
    return request(classification_pb2.ClassificationRequest, signature, *given)


def regression(signature: str = "regress", *given: example_pb2.Example) -> Any:
    return request(regression_pb2.RegressionRequest, signature, *given)


def multi(*tasks: tuple[str, str], given: tuple[example_pb2.Example, ...] = ()) -> Any:
    made = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = made.tasks.add(method_name=method)
        task.model_spec.name = "examples"
        task.model_spec.signature_name = signature
    made.input.example_list.examples.extend(given)
    return made


def pairs(result: Any) -> list[list[tuple[str, float]]]:
    return [[(c.label, c.score) for c in one.classes] for one in result.classifications]


def stub(server: ModelServer) -> Any:
    return stubs.PredictionServiceStub(server.channel)


def test_classify_gives_labels_and_scores(examples: ModelServer) -> None:
    answer = stub(examples).Classify(classification("", example(x=0.25), example(x=1.0)))
    assert pairs(answer.result) == [
        [("pos", 0.25), ("neg", 0.75)],
        [("pos", 1.0), ("neg", 0.0)],
    ]
    assert answer.model_spec.name == "examples"
    assert answer.model_spec.signature_name == "serving_default"
    assert answer.model_spec.version.value == 5


def test_classify_gives_what_the_signature_has(examples: ModelServer) -> None:
    answer = stub(examples).Classify(classification("classes_only", example(x=0.25)))
    assert pairs(answer.result) == [[("pos", 0.0), ("neg", 0.0)]]
    answer = stub(examples).Classify(classification("scores_only", example(x=0.25)))
    assert pairs(answer.result) == [[("", 0.25), ("", 0.75)]]


@pytest.mark.parametrize("signature", ["regress", "regress_flat"])
def test_regress_gives_one_value_an_example(examples: ModelServer, signature: str) -> None:
    answer = stub(examples).Regress(
        regression(signature, example(x=0.5), example(x=0.5, w=3.0, shift=1))
    )
    assert [r.value for r in answer.result.regressions] == [0.5, 2.5]
    assert answer.model_spec.signature_name == signature


def test_a_context_belongs_to_every_example_and_an_example_has_the_last_word(
    examples: ModelServer,
) -> None:
    asked = regression()
    given = asked.input.example_list_with_context
    given.context.CopyFrom(example(w=2.0, x=9.0))
    given.examples.extend([example(x=1.0), example(), example(w=5.0, x=1.0)])
    answer = stub(examples).Regress(asked)
    assert [r.value for r in answer.result.regressions] == [2.0, 18.0, 5.0]


def test_multi_inference_answers_each_task_in_its_order(examples: ModelServer) -> None:
    answer = stub(examples).MultiInference(
        multi(
            ("regress", REGRESS),
            ("", CLASSIFY),
            ("scores_only", CLASSIFY),
            given=(example(x=0.25), example(x=0.5)),
        )
    )
    first, second, third = answer.results
    assert [r.value for r in first.regression_result.regressions] == [0.25, 0.5]
    assert pairs(second.classification_result)[1] == [("pos", 0.5), ("neg", 0.5)]
    assert pairs(third.classification_result)[0] == [("", 0.25), ("", 0.75)]
    assert [r.model_spec.signature_name for r in answer.results] == [
        "regress",
        "serving_default",
        "scores_only",
    ]
    assert {r.model_spec.version.value for r in answer.results} == {5}


ONE = example(x=0.5)


@pytest.mark.parametrize(
    ("asked", "code", "text"),
    [
        (classification_pb2.ClassificationRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (classification("nope"), "INVALID_ARGUMENT", "No signature was found with the name: nope"),
        (classification(""), "INVALID_ARGUMENT", "Input is empty."),
        (classification("two_inputs", ONE), "INVALID_ARGUMENT", "Expected one input Tensor."),
        (
            classification("three_outputs", ONE),
            "INVALID_ARGUMENT",
            "Expected one or two output Tensors, found 3",
        ),
        (
            classification("other_input", ONE),
            "FAILED_PRECONDITION",
            "No classification inputs found in SignatureDef: inputs {",
        ),
        (
            classification("other_outputs", ONE),
            "FAILED_PRECONDITION",
            "Expected classification signature outputs to contain at least one of "
            '"classes" or "scores". Signature was: inputs {',
        ),
        (
            classification("flat_scores", ONE),
            "INVALID_ARGUMENT",
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        (
            classification("double_scores", ONE),
            "INVALID_ARGUMENT",
            "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
        ),
        (
            classification("one_score", ONE, ONE),
            "INVALID_ARGUMENT",
            "Expected scores output batch size of 2. Got: 1",
        ),
        (
            classification("three_scores", ONE),
            "INVALID_ARGUMENT",
            "Tensors class and score should match in dim_size(1). Got 2 vs. 3",
        ),
        (regression("nope"), "INVALID_ARGUMENT", "No signature was found with the name: nope"),
        (regression(), "INVALID_ARGUMENT", "Input is empty."),
        (regression("", ONE), "INVALID_ARGUMENT", "Expected one output Tensor."),
        (
            regression("other_regress_input", ONE),
            "FAILED_PRECONDITION",
            "No regression inputs found in SignatureDef: ",
        ),
        (
            regression("other_regress_output", ONE),
            "FAILED_PRECONDITION",
            "No regression outputs found in SignatureDef: ",
        ),
        (
            regression("wide", ONE),
            "INVALID_ARGUMENT",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            "[1,2]",
        ),
        (
            regression("short", ONE, ONE),
            "INVALID_ARGUMENT",
            "Input batch size did not match output batch size: 2 vs. 1",
        ),
        (
            regression("double", ONE),
            "INVALID_ARGUMENT",
            "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
        ),
        (regression("regress", example()), "INVALID_ARGUMENT", "x (data type: float) is required"),
        (multi(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            multi(("regress", REGRESS), ("regress", REGRESS)),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress",
        ),
        (
            multi(("nope", REGRESS)),
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: nope",
        ),
        (
            multi(("regress", "tensorflow/serving/predict")),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (
            multi(("regress", REGRESS), ("other_tensor", REGRESS), given=(ONE,)),
            "INVALID_ARGUMENT",
            "Expects arg[1] to be float but string is provided",
        ),
        (multi(("regress", REGRESS)), "INVALID_ARGUMENT", "Input is empty."),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_examples_are_refused_as_by_tensorflow_serving(
    examples: ModelServer, asked: Any, code: str, text: str
) -> None:
    kind = type(asked).__name__.removesuffix("Request")
    method = {"Classification": "Classify", "Regression": "Regress"}.get(kind, kind)
    found, message = refused(getattr(stub(examples), method), asked)
    assert found == code
    assert text in message


def test_tasks_of_two_models_are_refused(examples: ModelServer) -> None:
    asked = multi(("regress", REGRESS), ("", CLASSIFY))
    asked.tasks[1].model_spec.name = "another"
    assert refused(stub(examples).MultiInference, asked) == (
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    )


def call(server: ModelServer, method: str, body: Any) -> tuple[int, Any]:
    status, text = http_call(server, "POST", f"/v1/models/examples:{method}", body)
    return status, json.loads(text)


def test_rest_classify_and_regress(examples: ModelServer) -> None:
    body = {"examples": [{"x": 0.25}, {"x": [1.0], "prefix": "very "}]}
    assert call(examples, "classify", body) == (
        200,
        {"results": [[["pos", 0.25], ["neg", 0.75]], [["very pos", 1.0], ["very neg", 0.0]]]},
    )
    body = {
        "signature_name": "regress",
        "context": {"w": 2.0},
        "examples": [{"x": 0.25}, {"x": 1.0, "w": 3.0, "shift": 4}, {"x": 1.0, "shift": True}],
    }
    assert call(examples, "regress", body) == (200, {"results": [0.5, 7.0, 3.0]})
    body = {"examples": [{"x": 0.5, "prefix": {"b64": "YSA="}}]}
    status, text = http_call(examples, "POST", "/v1/models/examples/versions/5:classify", body)
    assert (status, text) == (
        200,
        '{\n    "results": [[["a pos", 0.5], ["a neg", 0.5]]\n    ]\n}',
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1.0]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"a": 1}}]}, "Feature: x has element with unexpected JSON type: Obj"),
        ({"examples": [{"x": [1.0, 1]}]}, "Unexpected element type in feature: x expecting type: "),
        ({"examples": [{"x": [1, "a"]}]}, "Unexpected element type in feature: x expecting type: "),
        ({"examples": [{"x": ["a", 1]}]}, "Unexpected element type in feature: x expecting type: "),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64_t element. Only int64_t is suppor"),
        ({"examples": [{"x": {"b64": "%"}}]}, "Unable to base64 decode"),
        (b'{"examples": [{"x": "\\ud800"}]}', "The surrogate pair in string is invalid. at offset"),
        ({"examples": [{"x": 1}]}, "Data types don't match. Data type: int64 but expected"),
        ({"signature_name": "nope", "examples": [{}]}, "No signature was found with the name: n"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
@pytest.mark.parametrize("method", ["classify", "regress"])
def test_a_bad_body_of_examples_is_a_400(
    examples: ModelServer, method: str, body: Any, text: str
) -> None:
    if isinstance(body, dict) and method == "regress":
        body = {"signature_name": "regress"} | body
    status, answer = call(examples, method, body)
    assert status == 400
    assert text in answer["error"]


def test_method_names_are_checked_on_request(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "examples", 1)
    with running_server(base, "examples", ["--enable_signature_method_name_check"]) as server:
        assert refused(stub(server).Classify, classification("regress", ONE)) == (
            "INVALID_ARGUMENT",
            f"Expected classification signature method_name to be {CLASSIFY}. Was: {REGRESS}",
        )
        assert refused(stub(server).Regress, regression("predict", ONE)) == (
            "INVALID_ARGUMENT",
            f"Expected regression signature method_name to be {REGRESS}. "
            "Was: tensorflow/serving/predict",
        )
        status, answer = call(
            server, "predict", {"signature_name": "odd_method", "instances": ["x"]}
        )
        assert status == 500
        assert answer["error"].startswith(
            "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        )
        assert call(server, "classify", {"examples": [{"x": 0.5}]})[0] == 200
