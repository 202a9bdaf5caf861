"""One picture file gets one answer: of the client over gRPC and REST, and of the gateway's form.

The page sends what the form's test sends, by JSON (tests/serving/gateway).
"""

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from client import Client, PredictionError
from tests.serving.gateway.running import Gateway, running_gateway
from tests.serving_fixtures import ModelServer, running_server
from tests.training.conftest import MNIST_CODE, ROOT
from training.mnist.mnist_data import read_mnist

pytestmark = pytest.mark.slow


@dataclass
class Stack:
    server: ModelServer
    gateway: Gateway
    digit: Image.Image
    """A test digit, white on black, and what it is."""
    label: int


@pytest.fixture(scope="module")
def stack(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    output = tmp_path_factory.mktemp("output")
    subprocess.run(
        [sys.executable, str(MNIST_CODE / "train_mnist.py"), f"--data_url={mnist}"]
        + [f"--train_url={output}", "--max_steps=400"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    versions = tmp_path_factory.mktemp("mnist")
    (output / "model").rename(versions / "1")
    test = read_mnist(mnist, str(mnist))[1]
    digit = Image.fromarray(test.images[0].reshape(28, 28))
    with (
        running_server(versions) as server,
        running_gateway(server.rest_url, versions) as gateway,
    ):
        yield Stack(server, gateway, digit, int(test.labels[0]))


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def ink_on(digit: Image.Image, size: tuple[int, int], at: tuple[int, int], side: int) -> np.ndarray:
    """Return how much ink each pixel has, 0..1, [h, w]."""
    paper = Image.new("L", size)
    paper.paste(digit.resize((side, side), Image.Resampling.BICUBIC), at)
    return np.asarray(paper, np.float32) / 255


def drawn(ink: np.ndarray) -> Image.Image:
    return Image.fromarray(np.uint8(255 - 255 * ink))


def corner(digit: Image.Image) -> bytes:
    return encoded(drawn(ink_on(digit, (300, 300), (10, 250), 40)))


def photo(digit: Image.Image) -> bytes:
    """Ink on paper in uneven light, with noise."""
    ink = ink_on(digit, (640, 480), (200, 100), 220)
    light = 190 + 25 * np.linspace(-1, 1, 640) + 10 * np.linspace(-1, 1, 480)[:, None]
    noise = np.random.default_rng(1).normal(0, 3, ink.shape)
    grey = Image.fromarray(np.uint8(np.clip(light * (1 - 0.8 * ink) + noise, 0, 255)))
    return encoded(grey.filter(ImageFilter.GaussianBlur(1)), "JPEG", quality=90)


def large(digit: Image.Image) -> bytes:
    return encoded(drawn(ink_on(digit, (8000, 8000), (6000, 500), 900)))


def transparent(digit: Image.Image) -> bytes:
    ink = Image.new("RGBA", (200, 200), "navy")
    ink.putalpha(Image.fromarray(np.uint8(255 * ink_on(digit, (200, 200), (90, 20), 100))))
    return encoded(ink)


def turned(digit: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = drawn(ink_on(digit, (300, 200), (120, 40), 120)).transpose(Image.Transpose.ROTATE_90)
    return encoded(lying.convert("RGB"), "JPEG", quality=90, exif=exif)


def sixteen_bits(digit: Image.Image) -> bytes:
    grey = 40000 - 30000 * ink_on(digit, (200, 200), (30, 20), 100)
    return encoded(Image.fromarray(grey.astype(np.uint16)))


def for_print(digit: Image.Image) -> bytes:
    picture = drawn(ink_on(digit, (200, 200), (30, 20), 100))
    return encoded(picture.convert("CMYK"), "JPEG", quality=90)


def phone(digit: Image.Image) -> bytes:
    """Of 48 million pixels and 12 MB, turned."""
    ink = ink_on(digit, (8064, 6048), (3000, 1500), 2500)
    noise = np.random.default_rng(1).integers(0, 25, ink.shape, dtype=np.uint8)
    grey = np.uint8(200 - 160 * ink) + noise
    exif = Image.Exif()
    exif[0x0112] = 3
    lying = Image.fromarray(grey).transpose(Image.Transpose.ROTATE_180)
    file = encoded(lying, "JPEG", quality=90, exif=exif)
    assert len(file) > 12_000_000
    return file


@pytest.mark.parametrize(
    "make", [corner, photo, large, transparent, turned, sixteen_bits, for_print, phone]
)
def test_client_and_form_agree_and_are_right(make: Any, stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "picture"
    file.write_bytes(make(stack.digit))
    answers = []
    for transport, port in (("grpc", stack.server.grpc_port), ("rest", stack.server.rest_port)):
        with Client("127.0.0.1", "mnist", port=port, transport=transport, timeout=60) as client:
            (example,) = client.predict_files([file])
        answers.append((example.prediction, example.confidence))
    status, answer = stack.gateway.post(file.read_bytes())
    assert status == 200, answer
    answers.append((answer["predictions"][0], max(answer["probabilities"][0])))
    assert [prediction for prediction, _ in answers] == [stack.label] * 3
    confidences = [confidence for _, confidence in answers]
    assert confidences == pytest.approx([confidences[0]] * 3, abs=1e-4)


def test_blank_paper_is_refused_in_the_same_words(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "paper.png"
    file.write_bytes(encoded(Image.new("RGB", (300, 200), "white")))
    text = "it is empty: nothing stands out from its background"
    with (
        Client("127.0.0.1", "mnist", port=stack.server.grpc_port, timeout=60) as client,
        pytest.raises(PredictionError, match=text),
    ):
        list(client.predict_files([file]))
    status, answer = stack.gateway.post(file.read_bytes())
    assert (status, answer["error"]) == (400, f"Picture '0.png' can't be used: {text}")
