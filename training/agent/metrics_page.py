"""A run's numbers for Prometheus, on a port of the Job's pods: how far it is, and what it measured.

They are those of the run's record. A run that ends before anybody asks is not seen here; its record
and TensorBoard have it for good.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/metrics"
_PREFIX = "dlstack_training_"
CLIENT_SECONDS = 10.0
"""To send a request, and to take the answer: whoever reaches the pod can open connections."""


def serve(port: int, record: Callable[[], Mapping[str, Any]], worker: int) -> None:
    """Answer GET /metrics, in threads that end with the process.

    Args:
        port: on all addresses.
        record: returns what the run's record says now.
        worker: the number of this one.

    Raises:
        OSError: the port can't be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS

        def do_GET(self) -> None:  # noqa: N802  # Its base class calls it by this name.
            found = self.path.partition("?")[0] == PATH
            body = page(record(), worker).encode() if found else b"Ask for /metrics.\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the pod's log is the run's."""

    server = ThreadingHTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def page(record: Mapping[str, Any], worker: int) -> str:
    """Return a record's numbers in Prometheus' text form."""
    who = {
        "model_name": record["model_name"],
        "run": record["run_hash"][:12],
        "worker": worker,
    }
    info = who | {"attempt": record["attempt"], "nodes": record["nodes"]}
    lines = [*_gauge("info", [(info, 1)])]
    lines += _gauge("started_timestamp_seconds", [(who, _unix(record["attempt_started"]))])
    if progress := record.get("progress"):
        counted = who | {"unit": progress["unit"]}
        lines += _gauge("progress", [(counted, progress["done"])])
        lines += _gauge("progress_goal", [(counted, progress["total"])])
        if "end" in progress:
            lines += _gauge("expected_end_timestamp_seconds", [(who, _unix(progress["end"]))])
    lines += _gauge(
        "phase_seconds",
        [(who | {"phase": name}, seconds) for name, seconds in record["seconds"].items()],
    )
    lines += _gauge(
        "model_metric",
        [(who | {"metric": name}, value) for name, value in record.get("metrics", {}).items()],
    )
    return "\n".join(lines) + "\n"


def _gauge(name: str, samples: list[tuple[Mapping[str, object], float]]) -> Iterator[str]:
    if samples:
        yield f"# TYPE {_PREFIX}{name} gauge"
    for labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
        yield f"{_PREFIX}{name}{{{pairs}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _unix(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
