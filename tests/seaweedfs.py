"""A real SeaweedFS for tests: one process on free local ports, killed and deleted at the end."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from store.access import Access
from tests.ports import free_port

READY_WITHIN_SECONDS = 60.0
REGION = "us-east-1"


class SeaweedFS:
    """An S3-compatible store; use it as a context manager.

    Buckets that are not empty are never deleted by the store, as on AWS.
    """

    def __init__(
        self, address: str = "127.0.0.1", data: Path | None = None, most_volumes: int = 4000
    ) -> None:
        """Prepare a store that will listen at `address` only.

        Args:
            address: of this machine.
            data: folder for what is stored; None: one of its own, which is deleted at the end.
            most_volumes: how many, of 64 MB, there may be.
        """
        self._address = address
        self._data = data
        self._most_volumes = most_volumes
        self.access_key = secrets.token_hex(8)
        self.secret_key = secrets.token_hex(16)
        self.reader_key = secrets.token_hex(8)
        """Access key of a user who may list and read, with the first secret key."""
        self._keys = [(self.access_key, self.secret_key)]
        self._reader_secret = self.secret_key
        self.endpoint = ""
        self.volume_port = self.master_port = 0
        """Of its servers which say how full the disk is, and what is given out of it."""
        self._folder = Path(tempfile.mkdtemp(prefix="dlstack-seaweedfs-"))
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            # Another program may have taken one of its ports by then.
            for _ in range(3):
                if self._start():
                    return self
            raise RuntimeError(f"SeaweedFS did not start:\n{self._log_tail()}")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            # On SIGTERM it waits some 15 s for its clients; there is nothing here to save.
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """The variables from which boto3 finds this store."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
        }

    def access(self, **other: str) -> Access:
        """How this store is reached, or another way."""
        present = {"access_key": self.access_key, "secret_key": self.secret_key}
        return Access(**{"endpoint": self.endpoint, "region": REGION, **present, **other})

    def client(self, access_key: str = "", secret_key: str = "") -> Any:
        """A new boto3 S3 client for this store, with its present keys or others."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            region_name=REGION,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=30,
                retries={"max_attempts": 1, "mode": "standard"},
            ),
        )

    def add_key(self) -> None:
        """Give the user a new pair of keys, which this object has now; old ones work, too."""
        self.access_key, self.secret_key = secrets.token_hex(8), secrets.token_hex(16)
        self._keys.append((self.access_key, self.secret_key))
        self._write_keys()
        self._await(lambda: self._knows(self.client()))

    def revoke_old_keys(self) -> None:
        """Leave the user the newest pair of keys only."""
        old = self.client(*self._keys[0])
        self._keys = self._keys[-1:]
        self._write_keys()
        self._await(lambda: not self._knows(old))

    def _write_keys(self) -> None:
        users = [
            ("tests", self._keys, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("reader", [(self.reader_key, self._reader_secret)], ["Read", "List"]),
        ]
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": key, "secretKey": secret} for key, secret in keys],
                "actions": actions,
            }
            for name, keys, actions in users
        ]
        (self._folder / "s3.json").write_text(json.dumps({"identities": identities}))
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def hang(self) -> None:
        """Accept connections, and answer nothing, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again after `hang`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End without a word, until `start_again`."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def start_again(self) -> None:
        """Run on the same ports, with all that was stored."""
        if not self._run():
            raise RuntimeError(f"SeaweedFS did not start again:\n{self._log_tail()}")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @staticmethod
    def _knows(client: Any) -> bool:
        try:
            client.list_buckets()
        except ClientError:
            return False
        return True

    @staticmethod
    def _await(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError("SeaweedFS did not read its keys anew.")
            time.sleep(0.05)

    def _start(self) -> bool:
        ports = [free_port() for _ in range(8)]
        self.endpoint = f"http://{self._address}:{ports[0]}"
        self.volume_port, self.master_port = ports[4], ports[6]
        (self._folder / "data").mkdir(exist_ok=True)
        self._write_keys()
        command = [
            _program(),
            "server",
            f"-dir={self._data or self._folder / 'data'}",
            f"-ip={self._address}",
            f"-ip.bind={self._address}",
            "-s3",
            f"-s3.config={self._folder / 's3.json'}",
            f"-s3.port={ports[0]}",
            f"-s3.port.grpc={ports[1]}",
            f"-filer.port={ports[2]}",
            f"-filer.port.grpc={ports[3]}",
            f"-volume.port={ports[4]}",
            f"-volume.port.grpc={ports[5]}",
            f"-master.port={ports[6]}",
            f"-master.port.grpc={ports[7]}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.allowDeleteBucketNotEmpty=false",
            # Many small ones, not preallocated.
            f"-volume.max={self._most_volumes}",
            f"-volume.minFreeSpace={'1MiB' if self._data else '100MiB'}",
            "-master.volumeSizeLimitMB=64",
            "-master.electionTimeout=1s",
            "-master.telemetry=false",
        ]
        if setpriv := shutil.which("setpriv"):
            # So that a killed test run leaves no store behind.
            command = [setpriv, "--pdeathsig", "KILL", *command]
        self._command = command
        return self._run()

    def _run(self) -> bool:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                # As a stack's own: one volume at a time for each bucket.
                env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.05)
        self._process.kill()
        self._process.wait()
        return False

    def _answers(self) -> bool:
        """Whether it stores an object: the S3 port opens before there is room for one."""
        client = self.client()
        try:
            existing = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
            if "readiness" not in existing:
                client.create_bucket(Bucket="readiness")
            client.put_object(Bucket="readiness", Key="probe", Body=b"ready" * 1000)
            client.delete_object(Bucket="readiness", Key="probe")
            client.delete_bucket(Bucket="readiness")
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True

    def _log_tail(self) -> str:
        log = self._folder / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-30:]) if log.exists() else ""


def _program() -> str:
    beside_python = Path(sys.executable).parent / "weed"
    program = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if program is None:
        raise RuntimeError("The program 'weed' is missing. Install requirements-dev.txt.")
    return program
