"""How agents find each other and learn of each other's end: several in this process, over TCP.

Not covered here: what TensorFlow does meanwhile; see test_rounds.py.
"""

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.open_files import no_other_file
from tests.ports import free_port
from training.agent import connections
from training.agent.membership import INDEX_VARIABLE, Membership
from training.agent.workers import Workers
from training.command_line import TrainingError

RUN = "ab" * 32
NOTICED_SECONDS = 20.0
"""Less than it takes to notice a machine that is gone without a word."""


class Agents:
    """Makes agents of one run, and ends them."""

    def __init__(self) -> None:
        self.port = free_port()
        self.made: list[Workers] = []
        self.pool = ThreadPoolExecutor()
        self.published = False

    def __call__(
        self,
        index: int,
        count: int = 2,
        join_seconds: float = 60,
        on_lost: Callable[[], None] = lambda: None,
    ) -> Workers:
        agent = Workers(
            Membership(count, index, "127.0.0.1", self.port),
            run_hash=RUN,
            on_lost=on_lost,
            is_published=lambda: self.published,
            join_seconds=join_seconds,
        )
        self.made.append(agent)
        return agent

    def join(self, *agents: Workers) -> list[dict[str, object] | None]:
        """Let them begin a round together; return their TF_CONFIG."""
        found = [self.pool.submit(agent.join).result for agent in agents]
        return [json.loads(config) if config else None for config in (one() for one in found)]


@pytest.fixture
def agents() -> Iterator[Agents]:
    made = Agents()
    yield made
    for agent in made.made:
        agent.close()
    made.pool.shutdown()


def test_all_begin_with_the_same_addresses_when_all_are_there(agents: Agents) -> None:
    first, second, third = (agents(index, count=3) for index in range(3))
    found = agents.join(third, second, first)
    clusters = []
    for index, config in zip((2, 1, 0), found, strict=True):
        assert config is not None and config["task"] == {"type": "worker", "index": index}
        clusters.append(config["cluster"])
    (addresses,) = clusters[0].values()
    assert clusters == [{"worker": addresses}] * 3
    assert len(set(addresses)) == 3 and all(one.startswith("127.0.0.1:") for one in addresses)


def test_until_a_boot_file_listens_nobody_gets_its_port_by_chance(
    agents: Agents, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Symptom: a connection that was made meanwhile had it, and the boot file couldn't listen."""
    (config, _) = agents.join(agents(0), agents(1))
    assert config is not None
    first_of_kernel = int(connections.KERNEL_PORTS.read_text().split()[0])
    ports = [int(one.rpartition(":")[2]) for one in config["cluster"]["worker"]]
    assert all(1024 < port < first_of_kernel for port in ports)
    # Where all others are taken, or the kernel may give any, it is one of those.
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(connections, "FIRST_PORT", port)
        monkeypatch.setattr(connections, "KERNEL_PORTS", tmp_path / "range")
        for end in (port, port + 1):
            (tmp_path / "range").write_text(f"{end}\t60999\n")
            assert connections.free_port() not in (0, port)


@pytest.mark.parametrize("gone", [0, 1])
def test_the_end_of_one_is_known_to_the_others_at_once(agents: Agents, gone: int) -> None:
    told = threading.Event()
    here = agents(1 - gone, on_lost=told.set)
    other = agents(gone)
    agents.join(here, other)
    assert not here.await_loss(0)
    other.close()
    assert here.await_loss(NOTICED_SECONDS) and told.wait(NOTICED_SECONDS)
    assert here.lost == f"Worker {gone} is gone"


def test_one_that_comes_while_all_files_are_open_is_taken_in_later(agents: Agents) -> None:
    """Symptom otherwise: worker 0 takes nobody in any more, and all wait until they give up."""
    first, second = agents(0), agents(1)
    agents.join(first, second)
    with socket.socket() as stranger, no_other_file():
        stranger.connect(("127.0.0.1", agents.port))
        stranger.sendall(b"x\n")
        assert stranger.recv(1) == b""
    second.close()
    assert first.await_loss(NOTICED_SECONDS)
    assert all(agents.join(first, agents(1)))


def test_one_that_was_lost_comes_again_and_all_begin_anew(agents: Agents) -> None:
    first, second, third = (agents(index, count=3) for index in range(3))
    agents.join(first, second, third)
    third.close()
    assert first.await_loss(NOTICED_SECONDS)
    # Worker 1 is told by worker 0, which begins anew.
    again = agents(2, count=3)
    beginning = agents.pool.submit(first.join)
    assert second.await_loss(NOTICED_SECONDS)
    assert all(agents.join(second, again)) and beginning.result()
    assert first.lost is None and second.lost is None


def test_an_error_of_ones_own_is_told_with_its_status(agents: Agents) -> None:
    first, second = agents(0), agents(1)
    agents.join(first, second)
    second.tell_failure(7)
    assert first.await_loss(NOTICED_SECONDS)
    assert first.lost == "Worker 1 ended with status 7, its log tells why"


def test_one_that_was_started_anew_unnoticed_ends_the_round(agents: Agents) -> None:
    """Its machine may have gone without a word, which takes a while to be noticed."""
    first = agents(0)
    agents.join(first, agents(1))
    again = agents.pool.submit(agents(1).join)
    assert first.await_loss(NOTICED_SECONDS)
    assert first.lost == "Worker 1 was started anew"
    assert first.join() and again.result()


def test_the_others_are_done_when_the_first_has_published(agents: Agents) -> None:
    first, second, third = (agents(index, count=3) for index in range(3))
    agents.join(first, second, third)
    waiting = agents.pool.submit(second.await_published)
    first.finish_round()
    # Nobody needs it any more.
    third.close()
    assert not first.await_loss(0.1)
    first.tell_published()
    assert waiting.result() is True
    # And for one that comes too late there is nothing left to do.
    assert agents(2, count=3).join() is None


def test_the_others_begin_anew_when_the_first_goes_before_it_has_published(agents: Agents) -> None:
    first, second = agents(0), agents(1)
    agents.join(first, second)
    first.finish_round()
    first.close()
    assert second.await_published() is False
    assert second.lost == "Worker 0 is gone"


def test_a_published_model_ends_the_wait_for_a_worker_that_has_gone(agents: Agents) -> None:
    agents.published = True
    assert agents(1).join() is None


@pytest.mark.parametrize("index", [0, 1])
def test_who_does_not_come_is_named(agents: Agents, index: int) -> None:
    agent = agents(index, count=3, join_seconds=0.2)
    wanted = (
        "Of 3 workers, workers 1, 2 did not come within 0 s"
        if index == 0
        else f"asked at '127.0.0.1:{agents.port}'"
    )
    with pytest.raises(TrainingError, match=f"{wanted}.* lower dlstack:nodeCount"):
        agent.join()


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\xff" * 40000 + b"\n",
        b"[]\n",
        b'{"index": 1, "run_hash": "another", "port": 1}\n',
        b'{"index": 2, "run_hash": "%s", "port": 1}\n' % RUN.encode(),
        b'{"index": "1", "run_hash": "%s", "port": 1}\n' % RUN.encode(),
    ],
)
def test_strangers_are_sent_away(agents: Agents, words: bytes) -> None:
    first = agents(0)
    with socket.create_connection(("127.0.0.1", agents.port), 60) as stranger:
        try:
            stranger.sendall(words)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
        except OSError as error:
            # Sent away before it had said all, or with words that nobody read.
            assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
    assert all(agents.join(first, agents(1)))


def test_the_port_may_be_taken(agents: Agents) -> None:
    agents(0)
    with pytest.raises(TrainingError, match=f"can't listen on port {agents.port}: Address already"):
        agents(0)


def test_a_single_worker_needs_no_others() -> None:
    assert Membership.of(1, "") is None


@pytest.mark.parametrize(
    ("chief", "index", "error"),
    [
        ("", "0", r"--chief='' is not an address\. Give it as host:port"),
        ("host", "0", r"--chief='host' is not an address"),
        ("host:0", "0", r"--chief='host:0' is not an address"),
        ("host:1", "", r"JOB_COMPLETION_INDEX is ''\. Set it to this worker's number, 0 to 1"),
        ("host:1", "2", r"JOB_COMPLETION_INDEX is '2'\. Set it"),
    ],
)
def test_wrong_flags_are_quoted(
    chief: str, index: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INDEX_VARIABLE, index)
    with pytest.raises(TrainingError, match=error):
        Membership.of(2, chief)


def test_a_membership_is_read_from_flags_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INDEX_VARIABLE, "1")
    assert Membership.of(2, "job-0.workers:2223") == Membership(2, 1, "job-0.workers", 2223)
