"""Sums over a ring of workers: here threads of one process, over real connections."""

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.ports import free_port
from training.command_line import WorkerLost
from training.steps import ring
from training.steps.ring import Ring


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here has to load TensorFlow first."""
    monkeypatch.setattr(ring, "_JOIN_SECONDS", 60.0)


def joined(count: int) -> list[Ring]:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda index: Ring(addresses, index), range(count)))


def sums(rings: Sequence[Ring], arrays: Sequence[Any], *, mean: bool = False) -> list[Any]:
    with ThreadPoolExecutor(len(rings)) as pool:
        return list(pool.map(lambda one, array: one.sum(array, mean=mean), rings, arrays))


@pytest.fixture(params=[2, 3, 5])
def rings(request: pytest.FixtureRequest) -> Any:
    found = joined(request.param)
    yield found
    for one in found:
        one.close()


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1_000_000])
def test_all_get_the_same_sum(rings: list[Ring], size: int) -> None:
    """Also of fewer numbers than workers, and of more than connections hold at a time."""
    random = np.random.default_rng(3)
    arrays = [random.normal(size=size).astype("float32") for _ in rings]
    given = [array.copy() for array in arrays]
    found = sums(rings, arrays)
    assert all(np.array_equal(one, found[0]) for one in found)
    np.testing.assert_allclose(found[0], np.sum(arrays, axis=0), rtol=1e-5, atol=1e-5)
    assert all(np.array_equal(*pair) for pair in zip(given, arrays, strict=True))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int64"])
def test_numbers_of_any_type_are_added(rings: list[Ring], dtype: str) -> None:
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    found = sums(rings, [np.arange(9).astype(kind) for _ in rings])
    assert all(one.dtype == kind for one in found)
    assert found[-1].astype(int).tolist() == [number * len(rings) for number in range(9)]


def test_a_mean_is_that_of_all(rings: list[Ring]) -> None:
    found = sums(rings, [np.full(4, index, "float32") for index, _ in enumerate(rings)], mean=True)
    assert all(one.tolist() == [(len(rings) - 1) / 2] * 4 for one in found)


def test_a_lost_worker_ends_the_sums_of_all(rings: list[Ring]) -> None:
    rings[0].close()

    def fails(one: Ring) -> bool:
        with pytest.raises(ConnectionError, match="a worker is gone"):
            one.sum(np.ones(100, "float32"), mean=False)
        one.close()
        return one.is_broken

    with ThreadPoolExecutor(len(rings)) as pool:
        assert all(pool.map(fails, rings[1:]))


def test_who_is_no_neighbour_is_not_let_in() -> None:
    """Somebody looks for open ports, and a worker of another place is early."""
    ports = [free_port(), free_port()]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Ring, addresses, 0)
        strangers = []
        while len(strangers) < 3:
            try:
                strangers.append(socket.create_connection(("127.0.0.1", ports[0])))
            except OSError:
                threading.Event().wait(0.01)
        strangers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        strangers[1].sendall(ring._HELLO.pack(ring._NAME, 7))
        strangers[2].close()
        second = pool.submit(Ring, addresses, 1)
        rings = [first.result(60), second.result(60)]
    assert [one.tolist() for one in sums(rings, [np.ones(3), np.ones(3)])] == [[2, 2, 2]] * 2
    for one in [*strangers, *rings]:
        one.close()


def test_who_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "_JOIN_SECONDS", 0.3)
    gone = f"127.0.0.1:{free_port()}"
    with pytest.raises(WorkerLost, match=f"The worker at '{gone}' did not come within 0 s"):
        Ring([f"127.0.0.1:{free_port()}", gone], 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(WorkerLost, match="Worker 1 did not come"):
            Ring([f"127.0.0.1:{free_port()}", there], 0)
