"""Clients of a model y = x / 2 + addend that ask without a pause, over both ports."""

from __future__ import annotations

import json
import threading

import grpc
import numpy as np

from tests.serving.asking import http_call
from tests.serving.conftest import predict_request, predict_stub
from tests.serving_fixtures import ModelServer


class Load:
    """Two clients a port while the context lasts, each with a number of its own as x.

    Attributes:
        failures: the texts of the errors that any of them got.
        addends: port and y - x / 2 of all answers. The numbers are so far apart that the answer to
            another client gives an addend that no model has.
    """

    def __init__(self, server: ModelServer) -> None:
        self.failures: list[str] = []
        self.addends: set[tuple[str, float]] = set()
        self._server = server
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=client, args=(100.0 * number,))
            for number, client in enumerate((self._over_grpc, self._over_rest) * 2)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _over_grpc(self, x: float) -> None:
        stub = predict_stub(self._server)
        request = predict_request(self._server.name, x=np.array([x], np.float32))
        while not self._stop.is_set():
            try:
                [y] = stub.Predict(request, timeout=60).outputs["y"].float_val
            except grpc.RpcError as error:
                self.failures.append(str(error))
            else:
                self.addends.add(("grpc", y - x / 2))

    def _over_rest(self, x: float) -> None:
        path = f"/v1/models/{self._server.name}:predict"
        while not self._stop.is_set():
            status, text = http_call(self._server, "POST", path, {"instances": [x]})
            if status == 200:
                [y] = json.loads(text)["predictions"]
                self.addends.add(("rest", y - x / 2))
            else:
                self.failures.append(text)
