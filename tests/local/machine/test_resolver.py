"""Which name servers a node asks, and the process that asks a machine's own for it."""

import socket
import struct
import threading

import pytest

from local.machine import name_relay, resolver
from local.machine.ranges import DEFAULT, Ranges

RANGES = Ranges.parse(DEFAULT)


@pytest.mark.parametrize(
    ("system", "wanted"),
    [
        ("nameserver 10.0.0.53\nnameserver 1.2.3.4\n", ["10.0.0.53", "1.2.3.4"]),
        ("nameserver 127.0.0.53\noptions edns0\n", None),
        ("nameserver 127.0.0.1\nnameserver 10.0.0.53\n", None),
        ("nameserver ::1\n", None),
        ("nameserver fe80::1%eth0\nnameserver 2001:db8::53\n", None),
        ("nameserver 10.0.0.53\nnameserver 2001:db8::53\n", ["10.0.0.53"]),
        ("search example.com\n", []),
    ],
)
def test_a_node_asks_what_it_reaches_or_else_the_machine(tmp_path, system, wanted):
    file = tmp_path / "system"
    file.write_text(system)
    needed = resolver.write(tmp_path, RANGES, file)
    assert needed == (wanted is None)
    listed = name_relay.servers((tmp_path / "resolv.conf").read_text())
    assert listed == ([str(RANGES.machine)] if wanted is None else wanted)


def test_search_domains_and_options_are_the_machine_s(tmp_path):
    file = tmp_path / "system"
    file.write_text("# by hand\nsearch example.com\noptions edns0\nnameserver 127.0.0.53\n")
    resolver.write(tmp_path, RANGES, file)
    written = (tmp_path / "resolv.conf").read_text().splitlines()
    assert written == ["search example.com", "options edns0", f"nameserver {RANGES.machine}"]


def test_a_machine_without_name_servers_is_left_without(tmp_path):
    assert not resolver.write(tmp_path, RANGES, tmp_path / "missing")
    assert (tmp_path / "resolv.conf").read_text() == ""


def both_at_one_port() -> tuple[socket.socket, socket.socket]:
    """Sockets for UDP and TCP. What is free for the one may be taken for the other."""
    while True:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(type=socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        return udp, tcp


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A name server that answers with the question in capitals; the file that names it."""
    system = tmp_path / "system"
    system.write_text("nameserver 127.0.0.9\nnameserver 127.0.0.1\n")
    udp, tcp = both_at_one_port()
    with udp, tcp:
        monkeypatch.setattr(name_relay, "PORT", tcp.getsockname()[1])
        monkeypatch.setattr(name_relay, "SYSTEM", system)
        # The threads below may have to wait for their turn.
        monkeypatch.setattr(name_relay, "SECONDS", 60)

        def answer_udp():
            question, who = udp.recvfrom(512)
            udp.sendto(question.upper(), who)

        def answer_tcp():
            connection, _ = tcp.accept()
            with connection:
                question = name_relay.read_message(connection)
                connection.sendall(struct.pack("!H", len(question)) + question.upper())

        threads = [threading.Thread(target=one) for one in (answer_udp, answer_tcp)]
        for thread in threads:
            thread.start()
        yield system
        for thread in threads:
            thread.join()


def test_the_first_server_that_answers_is_taken(asked):
    for transport in (name_relay.over_udp, name_relay.over_tcp):
        assert name_relay.ask(b"question", transport) == b"QUESTION"


def test_a_machine_without_a_server_that_answers_says_which_it_asked(monkeypatch, tmp_path):
    system = tmp_path / "system"
    monkeypatch.setattr(name_relay, "SYSTEM", system)
    system.write_text("")
    with pytest.raises(OSError, match="names no server"):
        name_relay.ask(b"question", name_relay.over_tcp)
    system.write_text("nameserver 127.0.0.9\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setattr(name_relay, "PORT", free.getsockname()[1])
        with pytest.raises(OSError, match=r"127\.0\.0\.9: "):
            name_relay.ask(b"question", name_relay.over_tcp)
