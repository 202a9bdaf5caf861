"""`python3 -m serving.sync`: copy one published model version from the bucket to local disk.

The version appears under its number only when it is whole and each file has the SHA-256 of its
manifest, so that a server that watches the folder never sees half a model.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from store.client import from_environment
from store.errors import NoRoom, StoreError
from store.patience import SECONDS, Patience
from store.urls import S3Url

from .. import logs
from .fetch import Source, SyncError, sync

log = logging.getLogger("serving.sync")


def _version(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a version. Give a positive integer.")
    return int(text)


class _Terminated(BaseException):
    """SIGTERM arrived."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m serving.sync", description=__doc__)
    parser.add_argument(
        "--source_url", required=True, help="s3://bucket/prefix of the model; no default"
    )
    parser.add_argument(
        "--model_version", required=True, type=_version, help="version number; no default"
    )
    parser.add_argument(
        "--target_dir",
        required=True,
        type=Path,
        help="folder that gets <version>/, made if missing; no default",
    )
    parser.add_argument(
        "--store_seconds",
        type=float,
        default=SECONDS,
        help="wait so long for a store that does not answer; default %(default)g",
    )
    options = parser.parse_args(arguments)
    logs.configure()
    # The default would end the process without removing what is half copied.
    signal.signal(signal.SIGTERM, _terminate)
    started = time.monotonic()
    version, target = options.model_version, options.target_dir
    try:
        url = S3Url.parse(options.source_url, "--source_url")
        with closing(from_environment()) as client:
            source, patience = Source(client, url), Patience(options.store_seconds, log.warning)
            copied = patience.ask(lambda: sync(source, version, target, log.warning))
    except NoRoom as error:
        log.error(
            "%s Give dlstack:servingFlavour a bigger disk (dlstack:flavours), or free the node's.",
            error,
        )
    except (SyncError, StoreError) as error:
        log.error("%s", error)
    except OSError as error:
        advice = "Free some." if error.errno == errno.ENOSPC else "Check --target_dir."
        log.error("Can't write '%s': %s. %s", error.filename or target, error.strerror, advice)
    except _Terminated:
        # `sys.exit` would wait for the threads, each of which fetches a file to its end.
        os._exit(128 + signal.SIGTERM)
    else:
        seconds = time.monotonic() - started
        what = "copied" if copied else "was complete already"
        log.info("Version %d %s in %.2f s: %s", version, what, seconds, target / str(version))
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
