"""An API server that answers like the cluster of a tool, and tools that write down their calls.

The server is one of ours, with TLS and client certificates like those of kind, k3d and minikube.
The tools and builders are scripts: they take just the words that the real ones document.
"""

import base64
import http.server
import json
import os
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.kubernetes.pki import Authority

_PROGRAM = f"""#!{sys.executable}
import json, pathlib, sys
me, words = pathlib.Path(sys.argv[0]), sys.argv[1:]
answers = json.loads((me.parent / f"{{me.name}}.json").read_text())
with (me.parent / "calls").open("a") as file:
    file.write(json.dumps([me.name, *words]) + "\\n")
for begin, (status, said, writes) in answers.items():
    if " ".join(words).startswith(begin):
        if writes:
            pathlib.Path(words[words.index(writes) + 1]).write_text("image")
        print(said, file=sys.stderr if status else sys.stdout)
        sys.exit(status)
sys.exit(f"{{me.name}}: unknown command {{words}}")
"""

LISTS = {
    "kind": {"get clusters": (0, "other\ndev", ""), "load image-archive ": (0, "", "")},
    "k3d": {
        "cluster list --output json": (0, json.dumps([{"name": "dev"}]), ""),
        "image import ": (0, "", ""),
    },
    "minikube": {
        "profile list --output json": (0, json.dumps({"valid": [{"Name": "dev"}]}), ""),
        "image load ": (0, "", ""),
    },
}
BUILDERS = {
    "docker": {
        "version ": (0, "28.0.0", ""),
        "build ": (0, "", ""),
        "save ": (0, "", "--output"),
    },
    "podman": {
        "info ": (0, "amd64", ""),
        "build ": (0, "", ""),
        "save ": (0, "", "--output"),
    },
    "buildah": {"info": (0, "{}", ""), "build ": (0, "", ""), "push ": (0, "", "")},
}


class Programs:
    """A folder for PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def add(self, name: str, **changed: tuple[int, str, str]) -> None:
        """Put a program there; `changed` replaces answers, by the first word of what is asked."""
        answers = {**LISTS, **BUILDERS}[name]
        for begin in answers:
            answers = {**answers, begin: changed.get(begin.split()[0], answers[begin])}
        (self.folder / name).write_text(_PROGRAM)
        (self.folder / name).chmod(0o755)
        (self.folder / f"{name}.json").write_text(json.dumps(answers))

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()]


def node(name: str = "dev-control-plane", **changed: Any) -> dict[str, Any]:
    """A node as the API lists it."""
    found: dict[str, Any] = {
        "metadata": {"name": name, "labels": {}},
        "spec": {"providerID": f"kind://docker/dev/{name}"},
        "status": {"images": []},
    }
    for key, value in changed.items():
        found[key] = {**found[key], **value}
    return found


@contextmanager
def serving(folder: Path, nodes: list[dict[str, Any]]) -> Iterator[str]:
    """Serve `nodes` to whoever has the administrator's certificate; the URL."""
    authority = Authority(folder)
    authority.create()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"items": nodes}).encode()
            self.send_response(200 if self.path == "/api/v1/nodes" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server", "server", addresses=("127.0.0.1",)))
    tls.load_verify_locations(authority.certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(folder: Path, server: str, name: str, context: str = "") -> dict[str, Any]:
    """A kubeconfig as the tools write it: minikube names files, the others have their content.

    Args:
        folder: of the authority.
        name: of the cluster's entry.
        context: of its context, where somebody has given it another name.
    """
    authority = Authority(folder)
    authority.create()
    certificate, key = authority.issue("admin", "admin", "system:masters")
    files = {"client-certificate": certificate, "client-key": key}

    def content(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    cluster: dict[str, Any] = {"server": server}
    if name.startswith(("kind-", "k3d-")):
        cluster["certificate-authority-data"] = content(authority.certificate)
        user = {f"{key}-data": content(path) for key, path in files.items()}
    else:
        cluster["certificate-authority"] = str(authority.certificate)
        user = {key: os.path.relpath(path, folder) for key, path in files.items()}
    if name == "dev":
        mark = {"provider": "minikube.sigs.k8s.io", "version": "v1.36.0"}
        cluster["extensions"] = [{"extension": mark, "name": "cluster_info"}]
    context = context or name
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
    }
