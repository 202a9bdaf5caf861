"""REST: answers, and every error's code and text, over real HTTP."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import statistics
import time
from typing import Any

import pytest

from tests.serving.asking import http_call
from tests.serving_fixtures import ModelServer
from tests.waiting import eventually

K = "/v1/models/kinds"


def predict(server: ModelServer, body: Any, path: str = f"{K}:predict") -> tuple[int, Any]:
    status, text = http_call(server, "POST", path, body)
    return status, json.loads(text)


def test_row_form_single_input_and_output(kinds: ModelServer) -> None:
    body = {"signature_name": "echo_float32", "instances": [1.0, 2, 5.5]}
    assert predict(kinds, body) == (200, {"predictions": [1.0, 2.0, 5.5]})


def test_column_form_single_input_and_output(kinds: ModelServer) -> None:
    body = {"signature_name": "echo_float32", "inputs": [[1.0], [2]]}
    assert predict(kinds, body) == (200, {"outputs": [[1.0], [2.0]]})


def test_row_form_with_several_names(kinds: ModelServer) -> None:
    rows = [{"a": [1, 2], "b": [3, 4]}, {"a": [5, 6], "b": [1, 1]}]
    assert predict(kinds, {"signature_name": "add", "instances": rows}) == (
        200,
        {
            "predictions": [
                {"sum": [4.0, 6.0], "difference": [-2.0, -2.0]},
                {"sum": [6.0, 7.0], "difference": [4.0, 5.0]},
            ]
        },
    )


def test_column_form_with_several_names_ignores_others(kinds: ModelServer) -> None:
    columns = {"a": [[1, 2]], "b": [[3, 4]], "c": "whatever"}
    assert predict(kinds, {"signature_name": "add", "inputs": columns}) == (
        200,
        {"outputs": {"sum": [[4.0, 6.0]], "difference": [[-2.0, -2.0]]}},
    )


def test_base64_in_and_out(kinds: ModelServer) -> None:
    """Strings come back as base64 only when the output's name ends in `_bytes`."""
    body = {"signature_name": "shout", "instances": [{"b64": base64.b64encode(b"hey").decode()}]}
    assert predict(kinds, body) == (
        200,
        {"predictions": [{"out_bytes": {"b64": "SEVZ"}, "text": "HEY"}]},
    )


def test_nan_and_infinity_in_and_out(kinds: ModelServer) -> None:
    body = b'{"signature_name": "echo_float32", "instances": [NaN, Infinity, -Infinity]}'
    status, text = http_call(kinds, "POST", f"{K}:predict", body)
    assert status == 200
    assert text == '{\n    "predictions": [NaN,Infinity,-Infinity\n    ]\n}'


def test_text_after_the_object_is_ignored(kinds: ModelServer) -> None:
    body = b'{"signature_name": "echo_int64", "instances": [1]} and more'
    assert predict(kinds, body) == (200, {"predictions": [1]})


def test_a_gzipped_body_is_unpacked(kinds: ModelServer) -> None:
    body = gzip.compress(b'{"signature_name": "echo_int64", "instances": [1]}')
    status, text = http_call(kinds, "POST", f"{K}:predict", body, {"Content-Encoding": "gzip"})
    assert (status, json.loads(text)) == (200, {"predictions": [1]})
    status, text = http_call(kinds, "POST", f"{K}:predict", b"junk", {"Content-Encoding": "gzip"})
    assert status == 400
    bomb = gzip.compress(bytes(101 * 2**20))
    status, text = http_call(kinds, "POST", f"{K}:predict", bomb, {"Content-Encoding": "gzip"})
    assert status == 400


def rows(signature: str, *values: Any) -> dict[str, Any]:
    return {"signature_name": signature, "instances": list(values)}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b" \n", "JSON Parse error: The document is empty"),
        (
            b'{"instances": [1',
            "JSON Parse error: Missing a comma or ']' after an array element. at offset: 16",
        ),
        (
            b'{"a": 1 "b"',
            "JSON Parse error: Missing a comma or '}' after an object member. at offset: 8",
        ),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at"),
        (b"{a}", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b"nope", "JSON Parse error: Invalid value. at offset: 1"),
        (b'{"a": "x', "JSON Parse error: Missing a closing quotation mark in string. at"),
        (b"[" * 100_000, "JSON Parse error: "),
        (b'{"a": ' + b"9" * 10_000 + b"}", "JSON Parse error: Number too big"),
        (b"\xff\xfe{}", "JSON Parse error: Invalid value. at offset: 0"),
        ([1], "JSON Value: [1] Is not object"),
        ({"signature_name": 3}, "'signature_name' key must be a string value."),
        ({"signature_name": "add"}, "Missing 'inputs' or 'instances' key"),
        (
            rows("add") | {"inputs": 1},
            "expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        ({"signature_name": "add", "instances": 1}, "Expecting 'instances' to be an list/array"),
        (rows("add"), "No values in 'instances' array"),
        (rows("add", 1), "instances is a plain list, but expecting list of objects as multiple"),
        (
            rows("nope", 1),
            'Serving signature name: "nope" not found in signature def',
        ),
        (
            {"instances": [1]},
            'Serving signature name: "serving_default" not found in signature def',
        ),
        (
            rows("echo_float32", "x"),
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        (rows("echo_float32", True), "Type: True is not of expected type: float"),
        (rows("echo_float32", None), "Type: Null is not of expected type: float"),
        (rows("echo_float32", 1.0, [2.0]), "Failed to process element: 1 of 'instances' list."),
        (rows("echo_float32", [1.0], [2.0, 3.0]), "Expecting tensor size: 1 but got: 2"),
        (
            rows("echo_float32", [[1.0, 2.0]], [[1.0], [2.0]]),
            "Expecting shape [1,2] but got: [2,1]",
        ),
        (rows("echo_float32", [[1.0], [1.0, 2.0]]), "Encountered list at unexpected size: 2 at"),
        (rows("echo_float32", [1.0, True]), "Type: True is not of expected type: float"),
        (rows("echo_int32", 1.0), "Type: Number is not of expected type: int32"),
        (rows("echo_int32", 2**31), "Type: Number is not of expected type: int32"),
        (rows("echo_uint64", -1), "Type: Number is not of expected type: uint64"),
        (rows("echo_bool", 1), "Type: Number is not of expected type: bool"),
        (rows("echo_string", 1), "Type: Number is not of expected type: string"),
        (rows("shout", {"b64": "%%"}), "Unable to base64 decode"),
        (
            rows("add", {"a": [1, 2]}),
            "Failed to process element: 0 of 'instances' list. JSON object: ",
        ),
        (rows("add", {"a": [1, 2], "z": 1}), "JSON object: does not have named input: z"),
        (
            rows("add", {"a": [1, "x"], "b": [1, 2]}),
            "Failed to process element: 0 key: a of 'instances' list. Error: INVALID_ARGUMENT: ",
        ),
        (
            rows("add", {"a": [1, 2], "b": [1, 2]}, [1]),
            "Expecting object but got list at item 1 of input list",
        ),
        (
            {"signature_name": "add", "inputs": {"a": [[1, 2]]}},
            "Missing named input: b in 'inputs' object.",
        ),
        (
            {"signature_name": "add", "inputs": [1]},
            "inputs is a plain value/list, but expecting an object as multiple input tensors",
        ),
        (rows("total", 1.0, 2.0), "Tensor name: scalar has no shape information "),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_a_bad_body_is_a_400_with_tensorflow_servings_words(
    kinds: ModelServer, body: Any, text: str
) -> None:
    status, answer = predict(kinds, body)
    assert status == 400
    assert text in answer["error"]


def test_half_floats_have_no_json_form_for_inputs(kinds: ModelServer) -> None:
    status, answer = predict(kinds, rows("echo_float16", 1.5))
    assert status == 400, "row errors are wrapped, which makes them INVALID_ARGUMENT"
    assert "UNIMPLEMENTED: Conversion of JSON Value: 1.5 to type: half" in answer["error"]
    status, answer = predict(kinds, {"signature_name": "echo_float16", "inputs": [1.5]})
    assert status == 501
    assert answer["error"] == "Conversion of JSON Value: 1.5 to type: half"


def test_an_error_is_indented_by_four(kinds: ModelServer) -> None:
    status, text = http_call(kinds, "POST", f"{K}:predict", {})
    assert text.startswith('{\n    "error": "')


def test_bad_json_to_an_unknown_model_is_400_not_404(kinds: ModelServer) -> None:
    assert predict(kinds, b"{", "/v1/models/nope:predict")[0] == 400
    status, answer = predict(kinds, {}, "/v1/models/nope:predict")
    assert (status, answer["error"]) == (404, "Servable not found for request: Latest(nope)")
    status, answer = predict(kinds, {}, f"{K}/versions/99:predict")
    assert (status, answer["error"]) == (404, "Servable not found for request: Specific(kinds, 99)")
    status, answer = predict(kinds, {}, f"{K}/labels/a%20b:predict")
    assert (status, answer["error"]) == (400, "Unrecognized servable version label: a b")


@pytest.mark.parametrize(
    "path",
    [
        f"{K}/versions/3:predict",
        "/V1/Models/kinds/Versions/3:PREDICT",
        f"{K}/versions/{'0' * 5000}3:predict",
    ],
    ids=["plain", "case", "zeros"],
)
def test_a_version_can_be_named_and_paths_ignore_case(kinds: ModelServer, path: str) -> None:
    assert predict(kinds, rows("echo_int64", 5), path) == (200, {"predictions": [5]})


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", f"{K}:predict", f"Malformed request: GET {K}:predict"),
        ("POST", f"{K}:predict?x=1", f"Malformed request: POST {K}:predict?x=1"),
        ("POST", f"{K}:nope", f"Malformed request: POST {K}:nope"),
        ("PUT", f"{K}:predict", f"Malformed request: PUT {K}:predict"),
        ("GET", "/v1/", "Malformed request: GET /v1/"),
        ("GET", "/v1/foo", "Malformed request: GET /v1/foo"),
        ("POST", "/v1/models", "Malformed request: POST /v1/models"),
        ("POST", f"{K}/metadata", f"Malformed request: POST {K}/metadata"),
        ("GET", f"{K}/other", f"Malformed request: GET {K}/other"),
        ("POST", f"{K}/versions/x:regress", f"Malformed request: POST {K}/versions/x:regress"),
        (
            "POST",
            f"{K}/versions/3/labels/x:regress",
            f"Malformed request: POST {K}/versions/3/labels/x:regress",
        ),
        ("GET", "/v1/models", "Missing model name in request."),
        (
            "GET",
            f"{K}/versions/99999999999999999999",
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        (
            "POST",
            f"{K}/versions/{'9' * 5000}:predict",
            f"Failed to convert version: {'9' * 5000} to numeric.",
        ),
        ("GET", f"{K}/", f"Malformed request: GET {K}/"),
        ("GET", f"{K}/metadata/more", f"Malformed request: GET {K}/metadata/more"),
        ("POST", f"{K}:predict/more", f"Malformed request: POST {K}:predict/more"),
        ("POST", f"{K}:predict#f", f"Malformed request: POST {K}:predict#f"),
    ],
)
def test_malformed_requests_are_400(kinds: ModelServer, method: str, path: str, text: str) -> None:
    status, answer = http_call(kinds, method, path)
    assert (status, json.loads(answer)["error"]) == (400, text)


def test_a_fragment_is_part_of_the_path(kinds: ModelServer) -> None:
    status, text = http_call(kinds, "GET", f"{K}#f")
    assert status == 404
    assert json.loads(text)["error"] == "Could not find any versions of model kinds#f"


def test_outside_v1_is_an_html_404(kinds: ModelServer) -> None:
    status, text = http_call(kinds, "GET", "/")
    assert status == 404
    assert "<HTML>" in text


def test_status(kinds: ModelServer) -> None:
    available = {
        "version": "3",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in (K, f"{K}/versions/3", f"{K}/labels/whatever"):
        status, text = http_call(kinds, "GET", path)
        assert (status, json.loads(text)) == (200, {"model_version_status": [available]})
    status, text = http_call(kinds, "GET", "/v1/models/nope")
    assert status == 404
    assert json.loads(text)["error"] == "Could not find any versions of model nope"


def test_metadata_prints_defaults(kinds: ModelServer) -> None:
    status, text = http_call(kinds, "GET", f"{K}/metadata")
    answer = json.loads(text)
    assert status == 200
    assert answer["metadata"]["signature_def"].keys() == {"signature_def"}, "no @type"
    assert answer["model_spec"] == {"name": "kinds", "signature_name": "", "version": "3"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["add"]["inputs"]["a"] == {
        "dtype": "DT_FLOAT",
        "name": "add_a:0",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
    }
    assert signatures["add"]["defaults"] == {}
    assert signatures["add"]["method_name"] == "tensorflow/serving/predict"


def test_options_and_cors(kinds: ModelServer) -> None:
    assert http_call(kinds, "OPTIONS", f"{K}:predict") == (400, "")
    connection = http.client.HTTPConnection("127.0.0.1", kinds.rest_port, timeout=60)
    connection.request("OPTIONS", f"{K}:predict", headers={"Origin": "http://a.example"})
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("Access-Control-Allow-Origin") == "*"
    assert response.getheader("Access-Control-Allow-Methods") == "POST, GET"
    assert response.getheader("Access-Control-Allow-Headers") == "Content-Type"
    connection.close()


def test_an_answer_goes_out_at_once(kinds: ModelServer) -> None:
    """With Nagle's algorithm on, each answer on a kept connection took 40 ms."""
    body = json.dumps(rows("echo_int64", 1))

    def at_once() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", kinds.rest_port, timeout=60)
        seconds = []
        for _ in range(40):
            started = time.monotonic()
            connection.request("POST", f"{K}:predict", body)
            connection.getresponse().read()
            seconds.append(time.monotonic() - started)
        connection.close()
        # Not the first ones, which a system acknowledges at once.
        return statistics.quantiles(seconds[16:], n=4)[0] < 0.03

    # A machine is not always busy; the algorithm would hold up the answers each time.
    eventually(at_once)


@pytest.mark.parametrize("depth", [32, 33, 64, 65, 254, 255, 5000])
def test_deep_lists_are_an_answer_or_a_clear_400(kinds: ModelServer, depth: int) -> None:
    """numpy's own limits (32 dimensions for iterators, 64 for arrays) used to be a 500."""
    value = json.loads("[" * depth + "1.5" + "]" * depth) if depth < 900 else None
    text = "[" * depth + "1.5" + "]" * depth
    body = f'{{"signature_name": "echo_float32", "inputs": {text}}}'.encode()
    status, answer = http_call(kinds, "POST", f"{K}:predict", body)
    if status == 200:
        assert json.loads(answer) == {"outputs": value}
    else:
        assert status == 400, answer
        assert json.loads(answer)["error"]
    assert (status == 200) == (depth <= 64)
