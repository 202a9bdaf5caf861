"""A cluster whose etcd is lost or damaged, with a real etcd where one is built.

That a stack is put back on its volumes afterwards was tried on a real cluster.
"""

import base64
import json
import shutil
import socket
import time
from http.client import HTTPConnection, HTTPException

import pytest

from local.build import programs
from local.build.programs import Programs
from local.home import Home
from local.kubernetes import memory
from local.kubernetes.configuration import ETCD, ETCD_PEER
from local.machine.processes import Daemon
from tests.waiting import eventually

SOCKET = ETCD.removeprefix("unix://")
UID = "fc8f4fa6-04c0-4c5b-b686-e05b9c216cf2"


@pytest.fixture
def etcd(tmp_path):
    """etcd as the cluster runs it, in a folder whose path is too long for a socket."""
    known = Programs(Home.from_environment())
    if not known.path(programs.KUBERNETES).exists():
        pytest.skip("etcd is not built")
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    daemon = Daemon(
        "etcd",
        [
            *known.command("etcd"),
            "--name=dlstack",
            f"--data-dir={folder / memory.ETCD_FOLDER}",
            *(f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"),
            *(f"--listen-peer-urls={ETCD_PEER}", f"--initial-advertise-peer-urls={ETCD_PEER}"),
            *(f"--initial-cluster=dlstack={ETCD_PEER}", "--log-level=warn"),
        ],
        folder,
    )
    yield daemon
    daemon.stop()


def start(etcd):
    (etcd.folder / SOCKET).unlink(missing_ok=True)
    etcd.start()
    until = time.monotonic() + 60
    # Its file is there before anybody listens.
    while etcd.pid() and not memory.listens(etcd.folder, SOCKET):
        assert time.monotonic() < until
        time.sleep(0.05)


def restore(etcd):
    """As the cluster does it: again, where a machine stands still for as long as etcd may take."""

    def restored():
        try:
            memory.restore(etcd.folder, SOCKET)
        except (OSError, HTTPException):
            return False
        return True

    eventually(restored)


def kube_system(etcd, monkeypatch):
    """The namespace as etcd has it."""
    monkeypatch.chdir(etcd.folder)
    connection = HTTPConnection("etcd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(SOCKET)
    key = base64.b64encode(b"/registry/namespaces/kube-system").decode()
    connection.request("POST", "/v3/kv/range", json.dumps({"key": key}))
    (found,) = json.loads(connection.getresponse().read())["kvs"]
    connection.close()
    return json.loads(base64.b64decode(found["value"]))


def test_an_empty_etcd_is_told_which_cluster_it_is_of(etcd, monkeypatch):
    assert not memory.is_lost(etcd.folder), "it was never ready"
    memory.keep(etcd.folder, UID)
    assert memory.is_lost(etcd.folder)
    start(etcd)
    assert not memory.is_lost(etcd.folder)
    restore(etcd)
    assert kube_system(etcd, monkeypatch)["metadata"]["uid"] == UID
    # What is there is not written over.
    memory.keep(etcd.folder, "another")
    restore(etcd)
    assert kube_system(etcd, monkeypatch)["metadata"]["uid"] == UID


def test_a_torn_last_write_is_mended_by_etcd_itself(etcd, monkeypatch):
    start(etcd)
    memory.keep(etcd.folder, UID)
    restore(etcd)
    restore(etcd)
    etcd.stop(grace_seconds=0)
    (log,) = (etcd.folder / memory.ETCD_FOLDER / "member" / "wal").glob("*-*.wal")
    written = log.read_bytes().rstrip(b"\0")
    log.write_bytes(written[:-20])
    start(etcd)
    assert kube_system(etcd, monkeypatch)["metadata"]["uid"] == UID


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("snap/db", b"\xff" * 3000),
        ("snap/db", b"\xff" * 90_000),
        ("wal/0000000000000000-0000000000000000.wal", b""),
        ("wal/0000000000000000-0000000000000000.wal", b"\xff" * 90_000),
    ],
)
def test_an_etcd_whose_files_are_damaged_says_what_to_run(etcd, file, content):
    start(etcd)
    memory.keep(etcd.folder, UID)
    restore(etcd)
    etcd.stop()
    path = etcd.folder / memory.ETCD_FOLDER / "member" / file
    path.write_bytes(content)
    (etcd.folder / SOCKET).unlink(missing_ok=True)
    etcd.start()
    until = time.monotonic() + 60
    while etcd.pid():
        assert time.monotonic() < until, etcd.log.read_text()
        time.sleep(0.05)
    error = memory.damage(etcd.folder, etcd.log.read_text())
    assert error is not None, etcd.log.read_text()
    data = etcd.folder / "etcd"
    assert f"`mv {data} {data}.damaged && make up`" in str(error)
    shutil.move(data, f"{data}.damaged")
    assert memory.is_lost(etcd.folder)


def test_an_etcd_that_ends_for_another_reason_is_not_called_damaged(tmp_path):
    assert memory.damage(tmp_path, "listen unix etcd:0: bind: address already in use") is None
