"""Whether a store answers at all: known within seconds, and asked for once."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from store import buckets, client
from store.access import Access
from store.client import Client, connect
from store.errors import NotTrusted, Unreachable, WrongCredentials
from store.objects import list_files
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.waiting import eventually


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that does this with each connection; yield its URL, and the connections so far."""
    taken: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                taken.append(listener.accept()[0])
            except OSError:
                return
            serve(taken[-1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in taken:
                one.close()


@pytest.fixture(autouse=True)
def own_clients() -> Iterator[None]:
    """What these tests find out counts for nobody else."""
    connect.cache_clear()
    yield
    connect.cache_clear()


def of(endpoint: str) -> Client:
    keys = {"access_key": "ACCESS", "secret_key": "hunter2", "region": "us-east-1"}
    return connect(Access(endpoint=endpoint, **keys), direct=False)


def test_a_silent_store_is_asked_once_and_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: five times 12 s until it was said, for each of those who asked."""
    # Of this one only: one that answers may take longer on a busy machine.
    monkeypatch.setattr(client, "_READ_SECONDS", 0.3)
    # However long this test takes.
    monkeypatch.setattr(buckets, "_AWAY_SECONDS", 3600.0)
    with server(lambda _: None) as (url, taken):
        for _ in range(3):
            with pytest.raises(
                Unreachable,
                match=f"^Can't use the object store: the object store at '{url}' can't be reached "
                r"\(it accepts connections, and is silent\). .* dlstack:s3Endpoint is right.$",
            ):
                buckets.require_answer(of(url))
        eventually(lambda: taken)
        assert len(taken) == 1


def test_one_that_cuts_connections_is_asked_twice() -> None:
    """Once is what becomes of a connection that nobody used for a while."""
    with server(lambda connection: connection.shutdown(socket.SHUT_RDWR)) as (url, taken):
        with pytest.raises(Unreachable, match="it cuts connections"):
            buckets.require_answer(of(url))
        assert len(taken) == 2


def test_where_nobody_listens_the_system_says_it() -> None:
    with pytest.raises(Unreachable, match=r"can't be reached \(Connection refused\)"):
        buckets.require_answer(of("http://127.0.0.1:9"))
    with pytest.raises(Unreachable, match=r"can't be reached \(.*[Nn]ame"):
        buckets.require_answer(of("http://none.invalid"))


def test_one_without_tls_is_no_answer_of_https(object_store: SeaweedFS) -> None:
    with pytest.raises(NotTrusted, match="dlstack:s3CaCertificate"):
        buckets.require_answer(of(object_store.endpoint.replace("http:", "https:")))


def test_any_answer_is_one(object_store: SeaweedFS) -> None:
    """What it answers is for those who ask for something."""
    buckets.require_answer(of(object_store.endpoint))
    with pytest.raises(WrongCredentials):
        list(list_files(of(object_store.endpoint), S3Url("any")))


def test_one_that_was_waited_for_is_not_away_any_more(
    object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_AWAY_SECONDS", 3600.0)
    found = connect(object_store.access(), direct=True)
    buckets.require_answer(found)
    found.away = Unreachable("It was, a moment ago.")
    with pytest.raises(Unreachable, match="a moment ago"):
        buckets.require_answer(found)
    buckets.wait_until_it_answers(found, 10)
    buckets.require_answer(found)


def test_what_was_found_counts_for_some_seconds(
    object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = connect(object_store.access(), direct=True)
    buckets.require_answer(found)
    found.away = Unreachable("It was, long ago.")
    monkeypatch.setattr(buckets, "_AWAY_SECONDS", 0.0)
    buckets.require_answer(found)
    assert found.away is None
