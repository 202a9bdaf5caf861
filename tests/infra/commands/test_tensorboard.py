"""`python -m infra tensorboard`. tests/infra/cluster/test_port_forward.py covers the way itself."""

import socket
import threading
from pathlib import Path

import pulumi
import pytest

from infra.commands import cli, tensorboard
from infra.commands.deployed import Deployed
from tests.infra.cluster.forwarding_api import NAMESPACE, ForwardingApi
from tests.infra.conftest import ANY_CLUSTER


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    return Deployed("dlstack-dev", NAMESPACE, ANY_CLUSTER, "", "output", "mnist", {})


def test_of_a_board_that_is_not_ready_says_so(
    stack: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardingApi(tmp_path) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
        with pytest.raises(pulumi.RunError, match="no pod of it is Ready .*'python -m infra stat"):
            tensorboard.show(stack, 0, pytest.fail)


def test_a_port_that_can_not_be_had_is_told(
    stack: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(pulumi.RunError, match=rf"port {port} .* --port 0 takes any"):
            tensorboard.show(stack, port, pytest.fail)
    with pytest.raises(SystemExit):
        cli.main(["tensorboard", "--port=70000"])
    assert "'70000' is not a port" in capsys.readouterr().err


def test_the_url_is_printed_and_leads_there(
    stack: Deployed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ForwardingApi(tmp_path) as api, socket.create_server(("127.0.0.1", 0)) as board:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
        api.ports["http"] = 6006
        api.pods["tensorboard-1"] = board.getsockname()[1]
        opened = threading.Event()
        thread = threading.Thread(
            target=tensorboard.show, args=(stack, 0, lambda _: opened.set()), daemon=True
        )
        thread.start()
        assert opened.wait(60)
        url = capsys.readouterr().out.strip()
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as browser:
            browser.sendall(b"GET")
            connection, _ = board.accept()
            with connection:
                assert connection.recv(3) == b"GET"
