"""The log on stderr of every process of this package: lines for people, or JSON for collectors.

`LOG_FORMAT=json` in the environment makes each record one JSON object on one line. Not covered:
what TensorFlow's and gRPC's C++ code writes to stderr by itself.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime

VARIABLE = "LOG_FORMAT"
FORMATS = ("text", "json")

_TEXT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


def configure() -> None:
    """Log to stderr from INFO on, in the format that the environment asks for.

    Raises:
        SystemExit: with one line, when it asks for one that does not exist.
    """
    wanted = os.environ.get(VARIABLE) or FORMATS[0]
    if wanted not in FORMATS:
        raise SystemExit(f"{VARIABLE} '{wanted}' is unknown. Use one of: {', '.join(FORMATS)}.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if wanted == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("botocore", "boto3", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The usual hooks show no lines of a module in a zip archive, and print what a collector of JSON
    # takes for many records.
    sys.excepthook = lambda *error: _uncaught(*error)
    threading.excepthook = lambda args: _uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


class JsonFormatter(logging.Formatter):
    """One object a record: `time` (RFC 3339, UTC), `level`, `logger`, `message`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON; without line breaks, as JSON escapes those in strings."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _uncaught(kind: type[BaseException], error: BaseException, traceback: object) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.critical("Uncaught exception", exc_info=(kind, error, traceback))  # type: ignore[arg-type]
