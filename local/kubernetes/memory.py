"""What outlives the cluster's memory, which is etcd: its identity, and so the way back to it.

Stacks know a cluster by the UID of its namespace `kube-system`, and refuse another one: what is not
in it is not gone. A cluster whose etcd is lost is the same one, with the same volumes. So the UID
is kept beside etcd, and an empty etcd gets it back before the API server makes a new one.
"""

import base64
import http.client
import json
import os
import re
import shlex
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..console import LocalError
from ..durable import settle

ETCD_FOLDER = "etcd"
_KEY = "/registry/namespaces/kube-system"
_SECONDS = 10
_DAMAGED = re.compile(
    # It gives up on files in many words, of its own and of its database. What keeps it from
    # starting otherwise, as a socket that is taken, is told without a panic.
    r"^(panic: |fatal error: |unexpected fault address)|crc mismatch|checksum error|walpb: |wal: ",
    re.MULTILINE,
)


def keep(folder: Path, uid: str) -> None:
    """Note down which cluster this is.

    Args:
        folder: of the cluster.
        uid: of its namespace `kube-system`.
    """
    if known(folder) == uid:
        return
    unfinished = _file(folder).with_suffix(".new")
    unfinished.write_text(uid)
    settle(unfinished, _file(folder))


def known(folder: Path) -> str | None:
    """The UID that was noted down; None in a cluster that never got ready."""
    try:
        return _file(folder).read_text().strip() or None
    except FileNotFoundError:
        return None


def is_lost(folder: Path) -> bool:
    """Whether this is a cluster that was ready once and whose etcd is empty. Before etcd starts."""
    return known(folder) is not None and not (folder / ETCD_FOLDER / "member").exists()


def restore(folder: Path, listening: str) -> None:
    """Tell an empty etcd, before the API server asks it, which cluster this is.

    Args:
        folder: of the cluster.
        listening: name of etcd's socket in it.

    Raises:
        OSError, http.client.HTTPException: etcd has ended meanwhile.
    """
    uid = known(folder)
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "kube-system",
            "uid": uid,
            "creationTimestamp": datetime.now(UTC).strftime("%FT%TZ"),
            "labels": {"kubernetes.io/metadata.name": "kube-system"},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    content = {"key": _encoded(_KEY), "value": _encoded(json.dumps(document))}
    # Only if it has none.
    request = {
        "compare": [{"key": content["key"], "target": "CREATE", "create_revision": "0"}],
        "success": [{"request_put": content}],
    }
    _ask(folder / listening, "/v3/kv/txn", request)


def listens(folder: Path, listening: str) -> bool:
    """Whether etcd takes connections at its socket; one that was killed leaves the file."""
    try:
        _connected(folder / listening).close()
    except OSError:
        return False
    return True


def damage(folder: Path, said: str) -> LocalError | None:
    """The error for an etcd that can't read its files; None if it ended for another reason.

    Args:
        folder: of the cluster.
        said: its log.
    """
    if not _DAMAGED.search(said):
        return None
    data = folder / ETCD_FOLDER
    aside = shlex.join(["mv", str(data), f"{data}.damaged"])
    return LocalError(
        f"etcd can't read its files in {data}, as after a power cut in the middle of a write.",
        "Put them aside, and the cluster is made anew as the same one, with all volumes, and the "
        f"stack is put back on them: `{aside} && make up`.",
    )


def _file(folder: Path) -> Path:
    return folder / "uid"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _connected(listening: Path) -> socket.socket:
    """A connection to a socket in the file system."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_SECONDS)
    # The path of a socket may have 107 bytes, and the folder's may have more.
    descriptor = os.open(listening.parent, os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{listening.name}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(descriptor)
    return connection


def _ask(listening: Path, path: str, request: dict[str, Any]) -> None:
    """POST to etcd's HTTP gateway.

    Raises:
        OSError, http.client.HTTPException: it does not answer.
        LocalError: it refused.
    """
    connection = http.client.HTTPConnection("etcd")
    with _connected(listening) as connection.sock:
        connection.request("POST", path, json.dumps(request))
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    if answer.status != http.HTTPStatus.OK:
        raise LocalError(
            f"etcd refuses what an empty one has to be told: {said.strip()}.",
            "Run `make up` again.",
        )
