"""A real versitygw for tests: S3 over a folder of this machine, built from its Go module.

Cold, that takes two minutes of a core. So `make test-stores` builds it, and other commands take it
where it is built already.
"""

import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

from local.build.programs import Program, programs_of
from local.home import Home
from store.access import Access
from tests.certificates import Pem
from tests.ports import free_port
from tests.strict_store import DOMAIN
from tests.waiting import eventually

PROGRAM = Program(
    "versitygw",
    "versitygw",
    "github.com/versity/versitygw/cmd/versitygw",
    expected="two minutes",
    beside=Path(__file__).resolve().parent / "go",
)
REGION = "eu-central-1"


def is_there() -> bool:
    """Whether it is built already."""
    return programs_of(Home.from_environment()).is_there(PROGRAM)


def build() -> Path:
    """Build the program unless it is in the cache; return its path."""
    return programs_of(Home.from_environment()).build(PROGRAM)


class VersityGw:
    """An S3-compatible store with TLS, whose buckets have host names of their own, too."""

    def __init__(self, tls: Pem) -> None:
        self.authority = ""
        """PEM text of who has signed the certificate."""
        self._tls = tls
        self._keys = secrets.token_hex(8), secrets.token_hex(16)

    def __enter__(self) -> Self:
        program = build()
        self._folder = Path(tempfile.mkdtemp(prefix="dlstack-versitygw-"))
        (self._folder / "data").mkdir()
        self._port = free_port()
        command: list[str | Path] = [
            program,
            *("--access", self._keys[0], "--secret", self._keys[1], "--region", REGION),
            *("--port", f"127.0.0.1:{self._port}", "--virtual-domain", f"{DOMAIN}:{self._port}"),
            *("--cert", self._tls.certificate, "--key", self._tls.key, "--quiet"),
            *("posix", self._folder / "data"),
        ]
        if setpriv := shutil.which("setpriv"):
            # So that a killed test run leaves no store behind.
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def access(self, **other: Any) -> Access:
        """How this store is reached, or another way."""
        fits: dict[str, Any] = {
            "endpoint": f"https://{DOMAIN}:{self._port}",
            "region": REGION,
            "access_key": self._keys[0],
            "secret_key": self._keys[1],
            "addressing": "virtual",
            "ca_certificate": self.authority,
        }
        return Access(**{**fits, **other})

    def _answers(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self._port)) == 0


if __name__ == "__main__":
    build()
