"""Bodies that the front end may read itself get the answers that Python would give.

Python reads a body with an unknown member, so each is asked both ways.
"""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.serving.conftest import served
from tests.serving_fixtures import ModelServer, running_server

ODD = [
    "0", "-0", "-0.0", "1", "-1", "255", "256", "2147483647", "2147483648",
    "9223372036854775807", "9223372036854775808", "123456789012345678", "0.1", "1.5",
    "1e5", "1E+2", "2e-3", "1e39",
    "1e308", "1e309", "1e-400", "4.9e-324", "16777217", "9007199254740993", "3.4028235677973366e38",
    "0.30000000000000004", "01", "1.", ".5", "+1", "NaN", "Infinity", "-Infinity", "null", "true",
    '"1"', "[1]", "{}", "", "1 2",
]  # fmt: skip


@pytest.fixture(scope="module", params=[(), ("--enable_batching",)], ids=["alone", "batched"])
def server(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServer]:
    base = served(models, tmp_path_factory.mktemp("forms") / "kinds", "kinds", 1)
    with running_server(base, "kinds", request.param) as running:
        yield running


def body(signature: str, values: list[str], form: str, *, told: bool) -> str:
    rows = f"[{', '.join(values)}], [{','.join(reversed(values))}]"
    unknown = "" if told else '"unknown": 0, '
    return f'{{{unknown}"signature_name": "{signature}", "{form}": [{rows}]}}'


def post(client: http.client.HTTPConnection, text: str) -> tuple[int, bytes]:
    client.request("POST", "/v1/models/kinds:predict", text)
    answer = client.getresponse()
    return answer.status, answer.read()


def test_every_number_gets_the_answer_that_python_gives(server: ModelServer) -> None:
    random_ = random.Random(3)
    with closing(http.client.HTTPConnection("127.0.0.1", server.rest_port)) as client:

        def ask(text: str) -> tuple[int, bytes]:
            return post(client, text)

        for kind in ("float32", "float64", "int32", "int64", "uint8", "int16", "string"):
            signature = f"echo_{kind}"
            for form in ("instances", "inputs"):
                for _ in range(2):
                    ask(body(signature, ["1", "2", "3", "4", "5"], form, told=True))
                for odd in ODD:
                    values = [str(random_.randrange(100)) for _ in range(4)] + [odd]
                    told, untold = (
                        ask(body(signature, values, form, told=told)) for told in (True, False)
                    )
                    if told[0] != 200:  # Texts may show all of the request.
                        told, untold = told[:1], untold[:1]
                    assert told == untold, (kind, odd)


def test_many_numbers_come_back_exactly(server: ModelServer) -> None:
    numbers = np.random.default_rng(1).normal(size=(3, 50)).astype(np.float32)
    content = json.dumps({"signature_name": "echo_float32", "instances": numbers.tolist()})
    with closing(http.client.HTTPConnection("127.0.0.1", server.rest_port)) as client:
        for _ in range(3):
            _, answer = post(client, content)
            assert (np.array(json.loads(answer)["predictions"], np.float32) == numbers).all()
