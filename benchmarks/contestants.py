"""Who takes part in `benchmarks/serving.py`: how each is started and asked."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.installing import CACHE, PEERS, ROOT, frontend


@dataclass(frozen=True)
class Contestant:
    """A server and one way to ask it."""

    name: str
    url: str
    """With `{port}`, and `{rest}` for the port after it."""
    request: Callable[[np.ndarray], bytes]
    """float32 [n, 784] -> what is sent."""
    answer: Callable[[bytes, int], np.ndarray]
    """What comes back, and n -> float32 [n, 10]."""
    command: Sequence[str]
    package: str = ""
    """What to install for it; none: nothing."""
    program: str = ""
    """A Go program below `benchmarks/` that it is."""
    python: str = sys.executable
    """The Python that the package is made for."""
    headers: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    """Where it is started."""

    @property
    def ours(self) -> bool:
        """Whether it is this repository's server."""
        return not self.package and not self.program

    def address(self, port: int) -> str:
        """Return the URL for a server whose first port is `port`."""
        return self.url.format(port=port, rest=port + 1)

    def arguments(self, port: int) -> list[str]:
        """Return the command line of the server."""
        bin_folder = CACHE / self.name / "bin" if self.package else Path(sys.executable).parent
        places = {"bin": bin_folder, "program": CACHE / self.program, "frontend": frontend()}
        return [word.format(port=port, rest=port + 1, **places) for word in self.command]


def _protobuf(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _open_inference(images: np.ndarray) -> bytes:
    """`ModelInferRequest` of the open inference protocol, with raw contents."""
    shape = bytes([len(images), 0x90, 0x06])  # 784 as a varint
    tensor = _protobuf(1, b"images") + _protobuf(2, b"FP32") + _protobuf(3, shape)
    return _protobuf(1, b"mnist") + _protobuf(5, tensor) + _protobuf(7, images.tobytes())


def _predict_request(images: np.ndarray) -> bytes:
    """`PredictRequest` as `tf.make_tensor_proto` makes it."""
    shape = b"".join(_protobuf(2, b"\x08" + size) for size in (bytes([len(images)]), b"\x90\x06"))
    tensor = b"\x08\x01" + _protobuf(2, shape) + _protobuf(4, images.tobytes())
    model = _protobuf(1, b"mnist") + _protobuf(3, b"serving_default")
    entry = _protobuf(1, b"images") + _protobuf(2, tensor)
    return _protobuf(1, model) + _protobuf(2, entry)


def _trailing_floats(content: bytes, rows: int) -> np.ndarray:
    return np.frombuffer(content[-40 * rows :], np.float32).reshape(rows, 10)


def _floats_of_response(content: bytes, rows: int) -> np.ndarray:
    # TensorProto.float_val: its packed values follow this tag and length, wherever that stands.
    header = _protobuf(5, bytes(40 * rows))[: -40 * rows]
    start = content.index(header) + len(header)
    return np.frombuffer(content[start : start + 40 * rows], np.float32).reshape(rows, 10)


def _numbers(images: np.ndarray) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in images]


def _json_of(key: str) -> Callable[[bytes, int], np.ndarray]:
    def read(content: bytes, rows: int) -> np.ndarray:
        value = json.loads(content)
        value = value[key] if key else value
        if isinstance(value[0], dict):
            value = [row["probabilities"] for row in value]
        return np.array(value, np.float32).reshape(rows, 10)

    return read


SERVER = (
    *("{bin}/python", "-m", "serving", "--port={port}", "--rest_api_port={rest}"),
    *("--model_name=mnist", "--model_base_path=@BASE@"),
)
JSON = ("content-type: application/json",)
RAW = ("content-type: application/octet-stream",)

PREDICT = "grpc://127.0.0.1:{port}/tensorflow.serving.PredictionService/Predict"


def ours(name: str, *flags: str, folder: Path = ROOT) -> list[Contestant]:
    """Return this repository's server with these flags, asked over gRPC and over REST."""
    over_grpc = Contestant(
        f"{name} gRPC",
        PREDICT,
        _predict_request,
        _floats_of_response,
        (*SERVER, *flags),
        folder=folder,
    )
    over_rest = replace(
        over_grpc,
        name=f"{name} REST",
        url="http://127.0.0.1:{rest}/v1/models/mnist:predict",
        request=lambda images: json.dumps({"instances": _numbers(images)}).encode(),
        answer=_json_of("predictions"),
        headers=JSON,
    )
    return [over_grpc, over_rest]


_NATIVE_BOUND = Contestant(
    "native bound gRPC",
    PREDICT,
    _predict_request,
    _floats_of_response,
    (
        *("{program}", "-grpc=127.0.0.1:{port}", "-http=127.0.0.1:{rest}"),
        *("-model=@BASE@/1", "-input=@INPUT@", "-output=@OUTPUT@"),
    ),
    program="native_bound",
)

NATIVE = ("--front_end=native", "--front_end_program={frontend}")

CONTESTANTS = [
    # "batch": with --enable_batching. "Python": with the pure Python front end.
    *ours("dlstack", *NATIVE),
    *ours("dlstack batch", *NATIVE, "--enable_batching"),
    *ours("dlstack Python", "--front_end=python"),
    *ours("dlstack Python batch", "--front_end=python", "--enable_batching"),
    _NATIVE_BOUND,
    replace(
        _NATIVE_BOUND,
        name="native bound HTTP",
        url="http://127.0.0.1:{rest}/",
        request=lambda images: images.tobytes(),
        answer=lambda content, rows: np.frombuffer(content, np.float32).reshape(rows, 10),
        headers=RAW,
    ),
    Contestant(
        "mosec",
        "http://127.0.0.1:{port}/inference",
        lambda images: images.tobytes(),
        lambda content, rows: np.frombuffer(content, np.float32).reshape(rows, 10),
        ("{bin}/python", str(PEERS / "mosec_app.py"), "--address=127.0.0.1", "--port={port}"),
        "mosec==0.9.8",
        headers=RAW,
    ),
    Contestant(
        "pytriton",
        "grpc://127.0.0.1:{port}/inference.GRPCInferenceService/ModelInfer",
        _open_inference,
        _trailing_floats,
        ("{bin}/python", str(PEERS / "pytriton_app.py")),
        "nvidia-pytriton==0.7.0",
        # Its Triton is linked to Debian's Python 3.11.2: later ones of 3.11 can't load it.
        python="/usr/bin/python3",
    ),
    Contestant(
        "mlserver",
        "grpc://127.0.0.1:{port}/inference.GRPCInferenceService/ModelInfer",
        _open_inference,
        _trailing_floats,
        ("{bin}/python", str(PEERS / "mlserver_app.py")),
        "mlserver==1.7.1",
    ),
    Contestant(
        "bentoml",
        "http://127.0.0.1:{port}/predict",
        lambda images: json.dumps({"images": _numbers(images)}).encode(),
        _json_of(""),
        (
            *("{bin}/bentoml", "serve", "bentoml_app:Mnist"),
            *("--host=127.0.0.1", "--port={port}", f"--working-dir={PEERS}"),
        ),
        "bentoml==1.4.40",
        headers=JSON,
        environment={"BENTOML_CONFIG": str(PEERS / "bentoml.yaml"), "DO_NOT_TRACK": "1"},
    ),
    Contestant(
        "litserve",
        "http://127.0.0.1:{port}/predict",
        lambda images: json.dumps({"images": base64.b64encode(images.tobytes()).decode()}).encode(),
        _json_of("probabilities"),
        ("{bin}/python", str(PEERS / "litserve_app.py")),
        "litserve==0.2.19",
        headers=JSON,
    ),
    Contestant(
        "ray",
        "http://127.0.0.1:{port}/",
        lambda images: images.tobytes(),
        lambda content, rows: np.frombuffer(content, np.float32).reshape(rows, 10),
        ("{bin}/python", str(PEERS / "ray_app.py")),
        "ray[serve]==2.60.0",
        headers=RAW,
        environment={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
]
