"""Requests that clients without any retry make all the time, in each way in which clients connect.

What fails here would cost a client that asks again its one retry.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import numpy as np

from client._transports import messages
from client._transports.grpc_codec import PREDICT
from client._transports.tensors import encode
from local.stack import held_out
from tests.cluster.conftest import Deployment
from tests.waiting import eventually

TIMEOUT = 60
"""Seconds of one request: on a busy machine some take long, and lose nothing."""

KINDS = ("grpc kept", "grpc new", "rest kept", "rest new")

CLIENTS = 2
"""Of each kind: each connection leads to a pod at random."""

PAUSE_SECONDS = 0.03
"""From an answer to the next request. Without, the clients alone would fill a small machine, and
what they are to find out would take place while nothing gets its turn."""


@dataclass
class Traffic:
    """What became of the requests so far."""

    answered: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(KINDS, 0)))
    """By kind. All are there from the start: who reads it meanwhile finds no new one halfway."""
    failed: list[tuple[str, float, str]] = field(default_factory=list)
    """Kind, when it was sent (`time.monotonic()`), and why."""
    slowest: float = 0.0
    """Seconds."""

    def await_answers(self, count: int, seconds: float = 120, kinds: Sequence[str] = KINDS) -> None:
        """Return when each of these kinds has got so many more."""
        before = self.answered.copy()
        eventually(lambda: min((self.answered - before)[kind] for kind in kinds) >= count, seconds)

    def __str__(self) -> str:
        failed = Counter(f"{kind}: {why}" for kind, _, why in self.failed)
        return (
            f"{dict(self.answered)} answered, {sum(failed.values())} failed "
            f"({dict(failed)}), the slowest in {self.slowest:.2f} s"
        )


@contextmanager
def traffic(deployment: Deployment, timeout: float = TIMEOUT) -> Iterator[Traffic]:
    """Have eight clients ask for the same digit until the block ends; say how it went."""
    outputs = deployment.outputs()
    host, model = str(outputs["host"]), str(outputs["modelName"])
    ports = {"grpc": outputs["grpcPort"], "rest": urlsplit(str(outputs["restUrl"])).port}
    pixels = _pixels(deployment.data_dir)
    ways: dict[str, Callable[[], _Asking]] = {
        "grpc": lambda: _Grpc(f"{host}:{ports['grpc']}", model, pixels, timeout),
        "rest": lambda: _Rest(host, int(str(ports["rest"])), model, pixels, timeout),
    }
    seen, stop, lock = Traffic(), threading.Event(), threading.Lock()

    def ask(kind: str) -> None:
        transport, _, connecting = kind.partition(" ")
        asking = ways[transport]()
        while not stop.is_set():
            started, why = time.monotonic(), ""
            try:
                asking.ask()
            except grpc.RpcError as error:
                why = f"{error.code().name} {error.details()}"
            except (OSError, http.client.HTTPException, AssertionError) as error:
                why = f"{type(error).__name__} {error}"
            with lock:
                seen.slowest = max(seen.slowest, time.monotonic() - started)
                if why:
                    seen.failed.append((kind, started, why))
                else:
                    seen.answered[kind] += 1
            if connecting == "new":
                asking.close()
                asking = ways[transport]()
            stop.wait(PAUSE_SECONDS)
        asking.close()

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in KINDS * CLIENTS]
    for thread in threads:
        thread.start()
    try:
        seen.await_answers(5)
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        print(seen)


def _pixels(data_dir: Path) -> np.ndarray:
    images, _ = held_out.pictures(data_dir, 1)
    return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in images])


class _Grpc:
    """A channel whose connection is its own."""

    def __init__(self, address: str, model: str, pixels: np.ndarray, timeout: float) -> None:
        # Channels of one process share connections otherwise.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(address, options=options)
        request = messages.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = "predict_object"
        encode(pixels, "float32", request.inputs["images"])
        self._request = request.SerializeToString()
        self._call = self._channel.unary_unary(PREDICT.path)
        self._timeout = timeout

    def ask(self) -> None:
        assert self._call(self._request, timeout=self._timeout)

    def close(self) -> None:
        self._channel.close()


class _Rest:
    """A connection that is kept as long as the server does."""

    def __init__(
        self, host: str, port: int, model: str, pixels: np.ndarray, timeout: float
    ) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        self._path = f"/v1/models/{model}:predict"
        body = {"signature_name": "predict_object", "inputs": {"images": pixels.tolist()}}
        self._body = json.dumps(body).encode()

    def ask(self) -> None:
        try:
            # Connects anew after an answer with `Connection: close`.
            self._connection.request("POST", self._path, self._body)
            response = self._connection.getresponse()
            content = response.read()
            assert response.status == 200, f"{response.status} {content[:200]!r}"
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()


_Asking = _Grpc | _Rest
