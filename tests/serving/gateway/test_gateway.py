"""The gateway process in front of a real model server. The page itself is in test_page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.gateway.refusals import for_people
from tests import refusals
from tests.ports import held_ports
from tests.serving.gateway.conftest import OfModel
from tests.serving.gateway.running import (
    FORM,
    METRICS,
    TENSORBOARD,
    Gateway,
    band,
    encoded,
    form,
    running_gateway,
)
from tests.serving_fixtures import ROOT, ModelServer


@pytest.fixture(scope="module")
def gateway(mnist: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifests = tmp_path_factory.mktemp("manifests")
    (manifests / "7").mkdir()
    manifest = {"metrics": METRICS, "run_hash": "ab" * 32, "files": []}
    (manifests / "7" / "manifest.json").write_text(json.dumps(manifest))
    flags = ("--max_files=16", f"--max_request_bytes={3 * 2**20}")
    with running_gateway(mnist.rest_url, manifests, *flags) as running:
        yield running


def test_pictures_are_answered_in_order_with_the_version(gateway: Gateway) -> None:
    status, answer = gateway.post(band(3), band(8))
    assert status == 200
    assert answer["model_name"] == "mnist"
    assert answer["model_version"] == 7
    assert answer["predictions"] == [3, 8]
    assert np.argmax(answer["probabilities"], 1).tolist() == [3, 8]
    assert answer["files"] == ["0.png", "1.png"]


def test_status_has_metrics_and_links(gateway: Gateway) -> None:
    status, _, body = gateway.call("GET", "/status")
    assert status == 200
    assert json.loads(body) == {
        "model_name": "mnist",
        "model_version": 7,
        "state": "AVAILABLE",
        "metrics": METRICS,
        "run_hash": "ab" * 32,
        "tensorboard_url": TENSORBOARD,
    }


@pytest.mark.parametrize(
    ("body", "content_type", "status", "text"),
    [
        (form(band(1), b"no picture"), FORM, 400, "Picture '1.png' can't be used: "),
        (form(band(1), field="other"), FORM, 400, "no file in the field 'images'"),
        (form(), FORM, 400, "no file in the field 'images'"),
        (b"broken", FORM, 400, ""),
        (b"x", "multipart/form-data", 400, "The form can't be read"),
        (b"{}", "application/json", 415, "Send multipart/form-data"),
        (form(bytes(3 * 2**20 + 1)), FORM, 413, "The request is larger than 3 MiB."),
        (form(*[band(1)] * 17), FORM, 413, "The form has more than 16 files."),
        (form(band(1), signature="nope"), FORM, 400, "'mnist' has no signature 'nope'. It has "),
        (form(band(1), signature="predict_object"), FORM, 400, "'images' (float, [?, 784])"),
    ],
    ids=[
        *("text", "field", "none", "junk", "boundary", "json", "large", "many", "unknown", "unfit"),
    ],
)
def test_bad_requests_are_clear_4xx(
    gateway: Gateway, body: bytes, content_type: str, status: int, text: str
) -> None:
    got, _, answer = gateway.call("POST", "/v1/predict", body, Content_Type=content_type)
    assert got == status
    assert text in json.loads(answer)["error"]


def test_other_methods_and_paths_are_json_errors(gateway: Gateway) -> None:
    status, headers, body = gateway.call("GET", "/v1/predict")
    assert (status, headers["allow"]) == (405, "POST")
    assert json.loads(body) == {"error": "Method Not Allowed"}
    assert gateway.call("GET", "/nope")[0] == 404
    assert gateway.call("GET", "/web/../gateway.py")[0] == 404


def test_the_page_needs_nothing_from_elsewhere(gateway: Gateway) -> None:
    status, headers, page = gateway.call("GET", "/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    types = {".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    files = {"page.js", "page.css", "icon.svg"}
    assert all(f"/web/{name}".encode() in page for name in files)
    files.update(file.name for file in (ROOT / "serving/gateway/web").glob("*.js"))
    for name in files:
        kind = types[Path(name).suffix]
        status, headers, content = gateway.call("GET", f"/web/{name}")
        assert status == 200
        assert kind in headers["content-type"]
        assert b"https://" not in content
        for imported in re.findall(rb'from "/web/([^"]+)"', content):
            assert imported.decode() in files
    assert b"//" not in page.replace(b"<!--", b"")


def test_a_browser_that_has_a_file_of_the_page_is_not_sent_it_again(gateway: Gateway) -> None:
    _, headers, content = gateway.call("GET", "/web/page.js")
    assert len(content) > 1000
    tag = headers["etag"]
    status, headers, content = gateway.call("GET", "/web/page.js", If_None_Match=f'"old", {tag}')
    assert (status, headers["etag"], content) == (304, tag, b"")
    assert gateway.call("GET", "/web/page.js", If_None_Match='"old"')[0] == 200


def test_without_a_model_server_the_gateway_lives_and_says_so(tmp_path: Path) -> None:
    with held_ports(1) as [silent]:
        url = f"http://127.0.0.1:{silent}"
        with running_gateway(url, tmp_path) as gateway:
            status, answer = gateway.post(band(7))
            assert (status, answer["error"]) == (503, f"The model server at {url} does not answer.")
            status, _, body = gateway.call("GET", "/status")
            assert (status, json.loads(body)["state"]) == (200, "UNREACHABLE")


def test_a_model_that_takes_no_pictures_says_what_it_takes(of_model: OfModel) -> None:
    """It used to be asked with a signature of MNIST's, and answered 502."""
    status, answer = of_model("houses").post(band(7))
    assert status == 400
    assert answer["error"] == (
        "Model 'houses' takes no picture files: 'serving_default' takes 'area' (float, [?]), "
        "'district' (string, [?]), 'garden' (bool, [?]), 'rooms' (int64, [?, 1]). Ask it with "
        "JSON, POST /v1/models/houses:predict, or on the page, which shows how."
    )
    status, answer = of_model("colours").post(band(7))
    assert status == 400, "pictures as numbers are not a matter of files"
    assert "'pictures' (float, [?, 24, 32, 3])" in answer["error"]


def test_a_picture_that_the_model_refuses_is_named(of_model: OfModel) -> None:
    status, answer = of_model("digits").post(band(1), encoded(Image.new("L", (50, 50))), band(2))
    assert status == 400
    assert answer["error"] == "Picture '1.png' can't be used: The picture is empty."


def test_what_a_model_says_of_itself_is_no_signature_for_pictures(of_model: OfModel) -> None:
    body = form(band(1), signature="about")
    status, _, answer = of_model("digits").call("POST", "/v1/predict", body, Content_Type=FORM)
    assert status == 400
    assert json.loads(answer)["error"] == (
        "Signature 'about' says what model 'digits' is, and takes no pictures. Name one of "
        "image_bytes, serving_default, or none."
    )


@pytest.mark.parametrize(("text", "words"), [*refusals.OF_MODELS, *refusals.OF_SERVERS])
def test_what_a_server_refuses_is_told_to_people(text: str, words: str) -> None:
    assert for_people(text) == words


def test_pictures_reach_the_model_as_they_are(of_model: OfModel) -> None:
    """Every picture became a grey digit of 28x28: here the model's band decides, wherever it is."""
    wide = Image.open(io.BytesIO(band(4))).resize((700, 280), Image.Resampling.NEAREST)
    status, answer = of_model("digits").post(encoded(wide.convert("RGB"), "JPEG"))
    assert (status, answer["predictions"]) == (200, [4])


def test_a_photo_of_a_phone_is_taken(of_model: OfModel) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (2200, 2200, 3), np.uint8)
    photo = encoded(Image.fromarray(noise), "PNG")
    assert len(photo) > 12e6
    status, answer = of_model("digits").post(photo)
    assert (status, len(answer["predictions"])) == (200, 1)


def test_nan_is_passed_on(models: Path, tmp_path: Path) -> None:
    """Strict JSON has none: the answer was a 500."""
    from serving.gateway.app import json_response

    assert json.loads(json_response({"y": float("nan")}).body)["y"] != 0
    assert json_response({"y": [float("inf")]}).body == b'{"y":[Infinity]}'
