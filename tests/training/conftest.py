"""What the tests of training share: buckets, runs of the agent, the real MNIST."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from store.client import Client
from store.dialect import OWN_PREFIX
from store.errors import StoreError
from tests.seaweedfs import SeaweedFS
from training.datasets.download_mnist import download

ROOT = Path(__file__).resolve().parents[2]
MNIST_CODE = ROOT / "training" / "mnist"
RUN_HASH = "ab" * 32


def read_until(process: "subprocess.Popen[str]", beginning: str) -> str:
    """Read a process's output up to a line that begins so; return what was read.

    It has to print nothing more until it is read again: `communicate` knows nothing of a buffer.
    """
    assert process.stdout is not None
    read: list[str] = []
    for line in process.stdout:
        read.append(line)
        if line.startswith(beginning):
            return "".join(read)
    raise AssertionError(f"No line begins with {beginning!r}:\n{''.join(read)}")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) of all event files directly in `folder`."""
    # Most tests need no TensorFlow.
    from training.quiet_tensorflow import tf

    found: dict[str, list[tuple[int, float]]] = {}
    for file in folder.glob("events.out.tfevents.*"):
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder of the real MNIST files, kept between test runs."""
    home = Path(os.environ.get("DLSTACK_HOME") or Path.home() / ".dlstack")
    folder = home / "cache" / "mnist"
    download(folder)
    return folder


@dataclass
class Bucket:
    """An empty bucket of one test, and the agent that works on it."""

    store: SeaweedFS
    client: Any
    name: str

    def url(self, path: str) -> str:
        return f"s3://{self.name}/{path}"

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def listing(self, prefix: str = "") -> list[str]:
        answer = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", ())]

    def upload(self, folder: Path, prefix: str) -> None:
        for file in folder.iterdir():
            if file.is_file():
                self.put(f"{prefix}/{file.name}", file.read_bytes())

    def agent(self, *arguments: str, **options: str) -> list[str]:
        """The command line of the agent: `options` replace the usual flags."""
        flags = {
            "code_url": self.url("code"),
            "boot_file": "boot.py",
            "data_url": self.url("data"),
            "train_url": self.url("runs/1"),
            "model_url": self.url("models/toy"),
            "run_hash": RUN_HASH,
            **options,
        }
        given = [f"--{name}={value}" for name, value in flags.items()]
        return [
            sys.executable,
            "-m",
            "training",
            *given,
            *(["--", *arguments] if arguments else []),
        ]

    def start(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **self.store.environment(), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        with self.start(command, environment) as process:
            try:
                # A test has less, by the time-out of its own (pyproject.toml); a fixture has none.
                output, errors = process.communicate(timeout=400)
            except BaseException:
                # It ends its boot file, too. Else it would be waited for without an end.
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(8)
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


@contextmanager
def new_bucket(object_store: SeaweedFS) -> Iterator[Bucket]:
    """A new bucket, deleted with all that is in it at the end."""
    client = object_store.client()
    one = Bucket(object_store, client, f"training-{uuid4().hex[:12]}")
    client.create_bucket(Bucket=one.name)
    yield one
    while keys := one.listing():
        client.delete_objects(Bucket=one.name, Delete={"Objects": [{"Key": key} for key in keys]})
    client.delete_bucket(Bucket=one.name)
    client.close()


def recorded_puts(client: Client, fail_for: str = "") -> list[str]:
    """A list that gets the key of each object that `client` has put, in order.

    A key that ends with `fail_for` is refused.
    """
    keys: list[str] = []
    put_object = client.s3.put_object

    def put(**request: Any) -> Any:
        if fail_for and request["Key"].endswith(fail_for):
            raise StoreError("no room")
        answer = put_object(**request)
        # What the store can do is found out by an object of its own, which goes again.
        if not request["Key"].startswith(OWN_PREFIX):
            keys.append(request["Key"])
        return answer

    client.s3.put_object = put  # type: ignore[method-assign]
    # What else writes is left to boto3.
    client.requests = None
    return keys


@pytest.fixture
def bucket(object_store: SeaweedFS) -> Iterator[Bucket]:
    """A new bucket of one test."""
    with new_bucket(object_store) as one:
        yield one


@pytest.fixture
def environment(object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> SeaweedFS:
    """The store's variables in this process, for what runs in it."""
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    return object_store
