"""A real model server for tests: tiny SavedModels and a process that serves them.

Plain functions; nothing here imports TensorFlow into the test process (its import takes seconds and
its warnings would be errors): `python3 -m tests.serving_fixtures KIND FOLDER ARGUMENT...` exports
in a child.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from tests.ports import held_ports

UNUSUAL_TYPES = {
    "qint8": 11, "quint8": 12, "qint32": 13, "qint16": 15, "quint16": 16,
    "float8_e5m2": 24, "float8_e4m3fn": 25, "float8_e4m3fnuz": 26, "float8_e4m3b11fnuz": 27,
    "float8_e5m2fnuz": 28, "int4": 29, "uint4": 30, "int2": 31, "uint2": 32,
}  # fmt: skip
"""Types without a JSON form and, but for some, without one in numpy itself; and their numbers."""

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180
FRONT_END = "TESTED_FRONT_END_FLAGS"
"""Variable with the flags that say which front end servers have; unset: they choose."""


def export_mnist_like_model(path: Path, answer: int | None = None) -> None:
    """Export a SavedModel with the three MNIST signatures to `path` (`.../<version>`).

    Picture row `k` of ten equal bands (78 pixels each, the last 4 pixels unused) speaks for digit
    `k`: a picture that is white in band 3 alone is predicted as 3. With `answer` every picture is.
    """
    export_models(("mnist", path, "" if answer is None else str(answer)))


def export_half_plus_two_model(path: Path, addend: float = 2.0) -> None:
    """Export y = x / 2 + addend: float32 `x` of any shape to `y` of the same."""
    export_models(("half_plus_two", path, str(addend)))


def export_kinds_model(path: Path) -> None:
    """Export a model with a signature for each data type, and odd ones: see `_kinds`."""
    export_models(("kinds", path, ""))


def export_colours_model(path: Path, about: str = "") -> None:
    """Export a model that tells red, green and blue apart: float32 `pixels` [n, 8, 8, 3] of 0..255
    to probabilities `output_0`. What it says of itself is the JSON `about`, if any.
    """
    export_models(("colours", path, about))


def export_models(*models: tuple[str, Path, str]) -> None:
    """Export several models, each a kind, a folder and an argument of the kind, in one child."""
    command = [sys.executable, "-m", "tests.serving_fixtures"]
    for kind, path, argument in models:
        path.parent.mkdir(parents=True, exist_ok=True)
        command += [kind, str(path), argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Exporting failed:\n{done.stderr[-4000:]}")


@dataclass
class ModelServer:
    """A running `python -m serving`."""

    process: subprocess.Popen[bytes]
    name: str
    base_path: Path
    grpc_port: int
    rest_port: int
    log_path: Path
    channel: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")

    @property
    def rest_url(self) -> str:
        """`http://host:port`, without a slash."""
        return f"http://127.0.0.1:{self.rest_port}"

    def log(self) -> str:
        """Return what the server wrote to stdout and stderr so far."""
        return self.log_path.read_text(errors="replace")


def server_command(
    base_path: Path, name: str, grpc_port: int, rest_port: int, flags: Sequence[str] = ()
) -> list[str]:
    """Return the command line of a model server."""
    return [
        sys.executable,
        "-m",
        "serving",
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_name={name}",
        f"--model_base_path={base_path}",
        *os.environ.get(FRONT_END, "").split(),
        *flags,
    ]


def failed_start(
    base: Path, name: str, flags: Sequence[str] = (), ports: tuple[int, int] | None = None
) -> subprocess.CompletedProcess[str]:
    """Start a server that must refuse; return how it ended, with exit status 255."""
    with held_ports(2) as held:
        done = subprocess.run(
            server_command(base, name, *(ports or held), flags),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.returncode == 255, done.stdout + done.stderr
    return done


@contextmanager
def running_server(
    base_path: Path,
    name: str = "mnist",
    flags: Sequence[str] = (),
    *,
    wait: bool = True,
    port: bool = True,
    ports: Sequence[int] | None = None,
) -> Iterator[ModelServer]:
    """Serve the versions below `base_path` (absolute) until the block ends.

    Args:
        base_path: folder with numbered version folders.
        name: the served model name.
        flags: further `--name=value` flags of the server.
        wait: until a version of the model is AVAILABLE, others may come later; ports are closed
            before that.
        port: without one gRPC is off, or at a Unix socket that `flags` name.
        ports: of gRPC and REST, which the caller holds; by default free ones.
    """
    log_path = base_path.parent / f"{base_path.name}-{time.monotonic_ns()}.log"
    with ExitStack() as stack:
        grpc_port, rest_port = ports or stack.enter_context(held_ports(2))
        grpc_port = grpc_port if port else 0
        log = stack.enter_context(log_path.open("wb"))
        process = subprocess.Popen(
            server_command(base_path, name, grpc_port, rest_port, flags),
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        server = ModelServer(process, name, base_path, grpc_port, rest_port, log_path)
        try:
            if wait:
                await_ready(server)
            yield server
        finally:
            server.channel.close()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def await_ready(server: ModelServer, seconds: float = START_SECONDS) -> None:
    """Wait until both ports of a server answer: they open once a version is AVAILABLE."""
    deadline = time.monotonic() + seconds
    for port in filter(None, (server.grpc_port, server.rest_port)):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Server did not start:\n{server.log()}") from None
                time.sleep(0.02)


def _main(kind: str, path: str, argument: str) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    def signature(*specs: tf.TensorSpec):
        return tf.function(input_signature=specs, autograph=False)

    if kind == "examples":
        _save_examples_model(tf, path)
        return
    if kind == "half_plus_two_v1":
        _save_half_plus_two_of_version_1(tf, path)
        return
    images = tf.TensorSpec([None, 784], tf.float32, "images")
    model = tf.Module()
    if kind == "mnist":
        bands = tf.repeat(tf.eye(10), 78, axis=0) / 78.0
        model.weights = tf.Variable(tf.concat([bands, tf.zeros([4, 10])], 0) * 8.0)
        bias = tf.one_hot(int(argument), 10, 1e3) if argument else tf.zeros([10])
        model.bias = tf.Variable(bias)

        def both(pictures):
            logits = tf.matmul(pictures, model.weights) + model.bias
            return {"predictions": tf.argmax(logits, 1), "probabilities": tf.nn.softmax(logits)}

        def decode(encoded):
            picture = tf.io.decode_image(encoded, channels=1, expand_animations=False)
            return tf.reshape(tf.image.resize(picture, [28, 28]) / 255.0, [784])

        @signature(images)
        def predict_object(images):
            return {"predictions": both(images)["predictions"]}

        @signature(images)
        def serving_default(images):
            return both(images)

        @signature(tf.TensorSpec([None], tf.string, "image_bytes"))
        def image_bytes(image_bytes):
            pictures = tf.map_fn(
                decode, image_bytes, fn_output_signature=tf.TensorSpec([784], tf.float32)
            )
            return both(pictures)

        signatures = {
            "predict_object": predict_object,
            "serving_default": serving_default,
            "image_bytes": image_bytes,
        }
    elif kind == "half_plus_two":
        model.a = tf.Variable(0.5)
        model.b = tf.Variable(float(argument))

        @signature(tf.TensorSpec(None, tf.float32, "x"))
        def serving_default(x):
            return {"y": x * model.a + model.b}

        signatures = {"serving_default": serving_default}
    elif kind == "half_plus_two_v2":
        signatures = _half_plus_two_of_version_2(tf, signature, model)
    elif kind == "colours":
        signatures = _colours(tf, signature, argument)
    elif kind == "large":
        constants = [tf.random.stateless_uniform([1024, 1024], [n, n]) for n in range(6)]

        @signature(tf.TensorSpec([None, 1024], tf.float32, "x"))
        def serving_default(x):
            for constant in constants:
                x = tf.matmul(x, constant)
            return {"y": x[:, :1]}

        signatures = {"serving_default": serving_default}
    else:
        signatures = _kinds(tf, signature)
    tf.saved_model.save(model, path, signatures=signatures)


def _save_examples_model(tf, path: str) -> None:
    """Save a graph that parses Examples, as TensorFlow 1 does: all signatures share one input.

    Feature `x` times feature `w` (default 1) is y. Classify: `pos` scores y, `neg` 1 - y.
    """
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], "serialized")
        features = v1.io.parse_example(
            serialized,
            {
                "x": v1.io.FixedLenFeature([1], tf.float32),
                "w": v1.io.FixedLenFeature([1], tf.float32, [1.0]),
                "prefix": v1.io.FixedLenFeature([1], tf.string, [""]),
                "shift": v1.io.FixedLenFeature([1], tf.int64, [0]),
            },
        )
        y = features["x"] * features["w"] + tf.cast(features["shift"], tf.float32)
        classes = tf.repeat(features["prefix"], 2, 1) + tf.constant([["pos", "neg"]])
        scores = tf.concat([y, 1 - y], 1)
        two = v1.placeholder(tf.float32, [None], "two")

        def signature(method, inputs, **outputs):
            build = v1.saved_model.utils.build_tensor_info
            return v1.saved_model.build_signature_def(
                {alias: build(tensor) for alias, tensor in inputs.items()},
                {alias: build(tensor) for alias, tensor in outputs.items()},
                f"tensorflow/serving/{method}",
            )

        given = {"inputs": serialized}
        signatures = {
            "serving_default": signature("classify", given, classes=classes, scores=scores),
            "classes_only": signature("classify", given, classes=classes),
            "scores_only": signature("classify", given, scores=scores),
            "regress": signature("regress", given, outputs=y),
            "regress_flat": signature("regress", given, outputs=tf.reshape(y, [-1])),
            "predict": signature("predict", given, outputs=y),
            "odd_method": signature("odd", given, outputs=y),
            "two_inputs": signature("classify", given | {"two": two}, scores=scores),
            "other_input": signature("classify", {"examples": serialized}, scores=scores),
            "three_outputs": signature("classify", given, scores=scores, classes=classes, y=y),
            "other_outputs": signature("classify", given, y=y),
            "flat_scores": signature("classify", given, scores=tf.reshape(scores, [-1])),
            "double_scores": signature("classify", given, scores=tf.cast(scores, tf.float64)),
            "one_score": signature("classify", given, scores=scores[:1]),
            "three_scores": signature(
                "classify", given, classes=classes, scores=tf.concat([scores, y], 1)
            ),
            "wide": signature("regress", given, outputs=scores),
            "short": signature("regress", given, outputs=y[:1]),
            "double": signature("regress", given, outputs=tf.cast(y, tf.float64)),
            "other_regress_input": signature("regress", {"examples": serialized}, outputs=y),
            "other_regress_output": signature("regress", given, y=y),
            "other_tensor": signature("regress", {"inputs": two}, outputs=two * 1),
        }
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def _save_half_plus_two_of_version_1(tf, path: str) -> None:
    """Save the graph of TensorFlow Serving's own tests: y = x / 2 + 2, y2 = x / 2 + 3, y3 of x2.

    Signatures for each API, of numbers or of Examples with the feature `x`.
    """
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, name="tf_example")
        parsed = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})
        x = tf.reshape(parsed["x"], [-1, 1], name="x")
        a, b = v1.get_variable("a", initializer=0.5), v1.get_variable("b", initializer=2.0)
        c = v1.get_variable("c", initializer=3.0)
        y, y2 = tf.add(a * x, b, name="y"), tf.add(a * x, c, name="y2")
        x2 = v1.placeholder(tf.float32, [None, 1], "x2")
        y3 = tf.add(a * x2, c, name="y3")

        def signature(method, inputs, outputs):
            return v1.saved_model.build_signature_def(
                {name: v1.saved_model.utils.build_tensor_info(t) for name, t in inputs.items()},
                {name: v1.saved_model.utils.build_tensor_info(t) for name, t in outputs.items()},
                f"tensorflow/serving/{method}",
            )

        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signature("predict", {"x": x}, {"y": y}),
                "classify_x_to_y": signature("classify", {"inputs": serialized}, {"scores": y}),
                "regress_x_to_y": signature("regress", {"inputs": serialized}, {"outputs": y}),
                "regress_x_to_y2": signature("regress", {"inputs": serialized}, {"outputs": y2}),
                "regress_x2_to_y3": signature("regress", {"inputs": x2}, {"outputs": y3}),
            },
        )
        builder.save()


def _half_plus_two_of_version_2(tf, signature, model):
    """Signatures of the same names, each with an input of its own, as TensorFlow 2 saves them."""
    model.a, model.b = tf.Variable(0.5), tf.Variable(2.0)

    def y_of(serialized):
        features = {"x": tf.io.FixedLenFeature([1], tf.float32)}
        return tf.io.parse_example(serialized, features)["x"] * model.a + model.b

    @signature(tf.TensorSpec(None, tf.float32, "x"))
    def serving_default(x):
        return {"y": x * model.a + model.b}

    @signature(tf.TensorSpec([None], tf.string, "inputs"))
    def classify_x_to_y(inputs):
        return {"scores": y_of(inputs)}

    @signature(tf.TensorSpec([None], tf.string, "inputs"))
    def regress_x_to_y(inputs):
        return {"outputs": y_of(inputs)}

    return {
        "serving_default": serving_default,
        "classify_x_to_y": classify_x_to_y,
        "regress_x_to_y": regress_x_to_y,
    }


def _colours(tf, signature, about_text: str):
    """Signatures of `export_colours_model`."""

    @signature(tf.TensorSpec([None, 8, 8, 3], tf.float32, "pixels"))
    def serving_default(pixels):
        return {"output_0": tf.nn.softmax(tf.reduce_mean(pixels, [1, 2]) / 51.0)}

    @signature(tf.TensorSpec([None], tf.string, "question"))
    def about(question):
        return {"json": tf.fill(tf.shape(question), about_text)}

    signatures = {"serving_default": serving_default}
    return {**signatures, "about": about} if about_text else signatures


def _kinds(tf, signature):
    """Signatures `echo_<type>`, and ones for more inputs, bytes, scalars, slowness."""
    signatures = {}
    for dtype in (
        tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.int8, tf.int16, tf.int32, tf.int64,
        tf.uint8, tf.uint16, tf.uint32, tf.uint64, tf.bool, tf.string, tf.complex64, tf.complex128,
        *map(tf.dtypes.as_dtype, UNUSUAL_TYPES.values()),
    ):  # fmt: skip

        @signature(tf.TensorSpec(None, dtype, "x"))
        def echo(x):
            return {"y": tf.identity(x)}

        signatures[f"echo_{dtype.name}"] = echo

    @signature(tf.TensorSpec([None, 2], tf.float32, "a"), tf.TensorSpec([None, 2], tf.float32, "b"))
    def add(a, b):
        return {"sum": a + b, "difference": a - b}

    @signature(tf.TensorSpec([None], tf.string, "in_bytes"))
    def shout(in_bytes):
        return {"out_bytes": tf.strings.upper(in_bytes), "text": tf.strings.upper(in_bytes)}

    @signature(tf.TensorSpec([None], tf.float32, "x"))
    def total(x):
        return {"scalar": tf.reduce_sum(x)}

    @signature(tf.TensorSpec([None], tf.int32, "steps"))
    def slow(steps):
        limit = tf.reduce_max(steps)

        def turn(i, m):
            return i + 1, tf.matmul(m, m) / 200.0

        ones = tf.ones([200, 200])
        done, m = tf.while_loop(lambda i, _: i < limit, turn, (tf.constant(0), ones))
        return {"done": tf.fill(tf.shape(steps), done) + tf.cast(m[0, 0], tf.int32) - 1}

    @signature(tf.TensorSpec([None], tf.string, "x"))
    def words(x):
        return {"words": tf.strings.split(x), "bytes": tf.strings.length(x)}

    return signatures | {
        "add": add, "shout": shout, "total": total, "slow": slow, "words": words,
    }  # fmt: skip


if __name__ == "__main__":
    words = iter(sys.argv[1:])
    for kind, path, argument in zip(words, words, words, strict=True):
        _main(kind, path, argument)
