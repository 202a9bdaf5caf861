"""A real cluster (the one of KUBECONFIG, or the embedded one), and stacks on it.

Each folder here runs in one process, some in that of another (`tests/conftest.py`). With
`pytest -n` they run side by side, so each has stacks of names of its own.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from local.__main__ import Platform
from local.home import REPOSITORY
from local.stack.stack import Stack, data_set
from tests.seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@contextmanager
def held(platform: Platform, name: str, mode: int) -> Iterator[None]:
    """Hold a lock of all processes that test on this machine's cluster.

    Args:
        name: of the lock: "up" to start the cluster, "use" to use it.
        mode: `fcntl.LOCK_SH`, together with others that do so, or `fcntl.LOCK_EX`, alone.
    """
    platform.home.make_room(0)
    with (platform.home.root / f"tests-{name}.lock").open("a") as lock:
        fcntl.flock(lock, mode)
        yield


@pytest.fixture(scope="session")
def platform(pytestconfig: pytest.Config) -> Platform:
    """The platform, up. `tests/conftest.py` stops it unless it ran before."""
    platform = Platform()
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    # The first time takes many minutes of building: whoever waits is to see it.
    with held(platform, "up", fcntl.LOCK_EX), capture.global_and_fixture_disabled():
        subprocess.run([sys.executable, "-m", "local", "up"], cwd=REPOSITORY, check=True)
    return platform


@dataclass
class Deployment:
    """A stack under test."""

    name: str
    platform: Platform
    variables: Mapping[str, str]
    data_dir: Path

    @property
    def namespace(self) -> str:
        return f"dlstack-{self.name}"

    def start_pulumi(
        self, *words: str, output: IO[str], project: Path = REPOSITORY
    ) -> "subprocess.Popen[str]":
        """Start pulumi on the stack.

        It is told to end if this process is killed, and by nobody else: killed itself, it would
        leave its plugins behind and the stack locked.
        """
        command = ["pulumi", *words, "--stack", self.name, "--non-interactive"]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "INT", *command]
        return subprocess.Popen(
            command,
            cwd=project,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def pulumi(self, *words: str, project: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
        """Run pulumi on the stack; the output is shown when a test fails."""
        # Not into a pipe: pulumi would end at once, were this process killed.
        with tempfile.TemporaryFile("w+") as log:
            process = self.start_pulumi(*words, output=log, project=project)
            try:
                process.wait()
            except BaseException:
                process.send_signal(signal.SIGINT)
                process.wait()
                raise
            log.seek(0)
            output = log.read()
        print(output)
        return subprocess.CompletedProcess(words, process.returncode, output)

    def up(self) -> "subprocess.CompletedProcess[str]":
        return self.pulumi("up", "--yes", "--skip-preview")

    def destroy(self) -> "subprocess.CompletedProcess[str]":
        return self.pulumi("destroy", "--yes", "--skip-preview")

    def configure(self, *values: str) -> None:
        """Set configuration keys of the program, each given as `key=value`."""
        words = [word for value in values for word in ("--plaintext", f"dlstack:{value}")]
        assert self.pulumi("config", "set-all", "--path", *words).returncode == 0

    def outputs(self) -> dict[str, object]:
        return json.loads(self.pulumi("stack", "output", "--json").stdout)

    def kubectl(self, *words: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run kubectl in the stack's namespace."""
        return subprocess.run(
            ["kubectl", f"--namespace={self.namespace}", *words],
            input=given,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
        )

    def items(self, kind: str, *words: str) -> list[dict]:
        """The objects of a kind in the stack's namespace."""
        listed = self.kubectl("get", kind, "--output=json", *words)
        assert listed.returncode == 0, listed.stderr
        return json.loads(listed.stdout)["items"]

    def store(self) -> "S3Client":
        """A client of the stack's own object store."""

        def get(kind: str) -> dict:
            return json.loads(self.kubectl("get", kind, "object-store", "-ojson").stdout)

        data = get("secret")["data"]
        (port,) = get("service")["spec"]["ports"]
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port['nodePort']}",
            region_name="us-east-1",
            aws_access_key_id=b64decode(data["AWS_ACCESS_KEY_ID"]).decode(),
            aws_secret_access_key=b64decode(data["AWS_SECRET_ACCESS_KEY"]).decode(),
            config=Config(s3={"addressing_style": "path"}),
        )

    def names(self, kind: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.items(kind)]


@contextmanager
def new_stack(platform: Platform, name: str) -> Iterator[Deployment]:
    """A new, empty stack; destroyed at the end, whatever the tests did."""
    variables = {**platform.environment(), "PULUMI_STACK": name}
    deployment = Deployment(name, platform, variables, data_set(platform.home))
    stack = Stack(variables)
    with held(platform, "use", fcntl.LOCK_SH):
        if stack.exists():
            # Of a test run that was killed: it may be locked, and its parts in any state.
            deployment.pulumi("cancel", "--yes")
            deployment.kubectl("delete", "namespace", deployment.namespace, "--ignore-not-found")
            deployment.pulumi("stack", "rm", "--yes", "--force")
        (REPOSITORY / f"Pulumi.{name}.yaml").unlink(missing_ok=True)
        defaults = {"dataDir": str(deployment.data_dir)}
        if platform.brought_kubeconfig is None:
            defaults["host"] = "127.0.0.1"
        stack.configure({"runtimeImage": platform.runtime_image}, defaults)
        try:
            yield deployment
        finally:
            destroyed = deployment.destroy()
            removed = deployment.pulumi("stack", "rm", "--yes")
            assert destroyed.returncode == 0
            assert removed.returncode == 0


@contextmanager
def own_store(platform: Platform) -> Iterator[SeaweedFS]:
    """A store of this machine, which pods of the embedded cluster reach."""
    if platform.brought_kubeconfig is not None:
        pytest.skip("needs the embedded cluster, whose pods reach this machine")
    with SeaweedFS(str(platform.cluster.ranges.machine)) as store:
        yield store
