"""A real cluster (the one of KUBECONFIG, or the embedded one), and stacks on it.

With `pytest -n` two processes share these tests (`tests/schedule.py`), so each module has stacks of
names of its own.
"""

import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from local.__main__ import Platform
from local.home import REPOSITORY
from local.stack.stack import Stack, data_set
from tests.cluster.given_namespace import given_namespace
from tests.seaweedfs import SeaweedFS
from tests.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


SHORT_PAUSES = {"pauseSeconds": "3", "drainSeconds": "2"}
"""Of a server's pod that is to end, where no test is about that: each would be there a minute."""

SHARED_CORES = ("flavours.shared.cpu=100m", "flavours.shared.memory=1Gi", "flavour=shared")
"""Has trainings reserve less than a core, of which others on this machine have the rest."""


@contextmanager
def alone(platform: Platform) -> Iterator[None]:
    """Be the one process that starts the cluster, of all that test on it."""
    platform.home.make_room(0)
    with (platform.home.root / "tests-up.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def platform(pytestconfig: pytest.Config, testrun_uid: str) -> Platform:
    """The platform, up. `tests/conftest.py` stops it unless it ran before."""
    platform = Platform()
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    # The first time takes many minutes of building: whoever waits is to see it.
    with alone(platform), capture.global_and_fixture_disabled():
        done = platform.home.root / "tests-up.txt"
        if not done.exists() or done.read_text() != testrun_uid:
            subprocess.run([sys.executable, "-m", "local", "up"], cwd=REPOSITORY, check=True)
            done.write_text(testrun_uid)
    return platform


def put_pods_first(platform: Platform) -> None:
    """Give the cluster's pods most of the machine when others want it, too.

    Who waits for them is what the tests take longest for. All pods together count as one process
    else, beside each thread of each test that is not on the cluster.
    """
    name, groups = platform.home.name, Path("/sys/fs/cgroup")
    # Eight times as much as is usual, in version 1 and in version 2 of control groups.
    for setting, value in (
        (groups / "cpu" / name / "cpu.shares", 8 * 1024),
        (groups / name / "cpu.weight", 8 * 100),
    ):
        with suppress(OSError):
            setting.write_text(str(value))


def lasts(pod: dict) -> bool:
    """Whether a pod is Ready and nobody has told it to end."""
    return "deletionTimestamp" not in pod["metadata"] and any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in pod["status"].get("conditions", ())
    )


def json_at(url: object) -> Any:
    """The JSON that is there; None where no whole answer comes.

    A new connection may lead to a pod that is ending, until the node has heard of that.
    """
    try:
        with urllib.request.urlopen(str(url), timeout=60) as answer:
            return json.load(answer)
    except (OSError, http.client.HTTPException, ValueError):
        return None


@dataclass
class Deployment:
    """A stack under test."""

    name: str
    platform: Platform
    variables: Mapping[str, str]
    data_dir: Path
    forward: "tuple[subprocess.Popen[str], str, str] | None" = None
    """Process, pod and URL of the way to its object store."""

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

    def predict(self, *words: str | Path) -> list[dict]:
        """Ask by the client, which finds the stack by itself; return the predictions.

        A new connection may lead to a pod of before, which has another model, or none of its keys,
        until the node has heard of its end: then the client is asked again.
        """

        def answered() -> list[dict] | None:
            done = subprocess.run(
                [sys.executable, "-m", "client", "predict", "--json", *map(str, words)],
                cwd=REPOSITORY,
                env={**os.environ, **self.variables},
                capture_output=True,
                text=True,
            )
            print(done.stderr)
            return json.loads(done.stdout)["predictions"] if done.returncode == 0 else None

        found: list[dict] = eventually(answered, 120)
        return found

    def items(self, kind: str, *words: str) -> list[dict]:
        """The objects of a kind in the stack's namespace."""
        listed = self.kubectl("get", kind, "--output=json", *words)
        assert listed.returncode == 0, listed.stderr
        return json.loads(listed.stdout)["items"]

    def store(self) -> "S3Client":
        """A client of the stack's own object store, as long as its pod lives."""
        read = json.loads(self.kubectl("get", "secret", "object-store", "-ojson").stdout)["data"]
        return boto3.client(
            "s3",
            endpoint_url=self._forwarded_store(),
            region_name="us-east-1",
            aws_access_key_id=b64decode(read["AWS_ACCESS_KEY_ID"]).decode(),
            aws_secret_access_key=b64decode(read["AWS_SECRET_ACCESS_KEY"]).decode(),
            config=Config(s3={"addressing_style": "path"}),
        )

    def _forwarded_store(self) -> str:
        """The URL of a port of this machine that `kubectl port-forward` leads to the store."""
        process, pod, url = self.forward or (None, "", "")
        here = [one["metadata"]["name"] for one in self._store_pods()]
        if process is not None and process.poll() is None and [pod] == here:
            return url
        self.stop_forward()
        # One that has only just been made answers a moment later.
        self.forward = eventually(self._begin_forward, 120)
        return self.forward[2]

    def _store_pods(self) -> list[dict]:
        """Those that stay: the next one may be there beside one that ends."""
        pods = self.items("pods", "--selector=app.kubernetes.io/name=object-store")
        return [one for one in pods if "deletionTimestamp" not in one["metadata"]]

    def _begin_forward(self) -> "tuple[subprocess.Popen[str], str, str] | None":
        pods = [one["metadata"]["name"] for one in self._store_pods() if lasts(one)]
        if not pods:
            return None
        process = subprocess.Popen(
            [
                *("kubectl", f"--namespace={self.namespace}"),
                *("port-forward", f"pod/{pods[0]}", ":s3"),
            ],
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Forwarding from 127.0.0.1:40123 -> 8333
        line = process.stdout.readline()
        if "->" in line:
            return process, pods[0], f"http://{line.split()[2]}"
        process.kill()
        process.wait()
        process.stdout.close()
        return None

    def stop_forward(self) -> None:
        if self.forward is not None:
            self.forward[0].kill()
            self.forward[0].wait()
            self.forward[0].stdout.close()
        self.forward = None

    def names(self, kind: str, *words: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.items(kind, *words)]


@contextmanager
def new_stack(
    platform: Platform,
    name: str,
    *,
    given: bool = False,
    pauses: bool = False,
    destroyed: bool = False,
) -> Iterator[Deployment]:
    """A new, empty stack; gone at the end, whatever the tests did.

    Args:
        pauses: its pods end as slowly as those of a stack that nobody has configured.
        destroyed: it is gone by `pulumi destroy`, which has to succeed. Else its tests have tried
            that, or others have for it, and its namespace is deleted.
        given: its namespace is made by an administrator, and its user has the rights of
            examples/role.yaml there, and none elsewhere.
    """
    variables = {**platform.environment(), "PULUMI_STACK": name}
    deployment = Deployment(name, platform, variables, data_set(platform.home))
    stack = Stack(variables)
    put_pods_first(platform)
    with ExitStack() as around:
        if stack.exists():
            # Of a test run that was killed: it may be locked, and its parts in any state.
            deployment.pulumi("cancel", "--yes")
            _abandon(deployment)
        # Nor is that of the last run of the tests to be in the way.
        gone = ("wait", "--for=delete", f"namespace/{deployment.namespace}", "--timeout=5m")
        assert deployment.kubectl(*gone).returncode == 0
        (REPOSITORY / f"Pulumi.{name}.yaml").unlink(missing_ok=True)
        wanted = {"runtimeImage": platform.runtime_image}
        defaults = {"dataDir": str(deployment.data_dir), **({} if pauses else SHORT_PAUSES)}
        if platform.brought_kubeconfig is None:
            defaults |= {"host": "127.0.0.1", "tensorboardServiceType": "NodePort"}
        if given:
            wanted["createNamespace"] = "false"
            user = given_namespace(deployment.namespace, variables)
            deployment.variables = around.enter_context(user)
        stack.configure(wanted, defaults)
        try:
            yield deployment
        finally:
            deployment.stop_forward()
            done = deployment.destroy() if destroyed else None
            deployment.variables = variables
            _abandon(deployment)
            assert done is None or done.returncode == 0


def _abandon(deployment: Deployment) -> None:
    """Forget a stack, and have Kubernetes delete its namespace in its own time."""
    deployment.kubectl(
        *("delete", "namespace", deployment.namespace, "--ignore-not-found", "--wait=false")
    )
    # The next stack needs the room of its pods.
    deployment.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    assert deployment.pulumi("stack", "rm", "--yes", "--force").returncode == 0


@contextmanager
def configuration_kept(deployment: Deployment) -> Iterator[None]:
    """Give a stack the configuration back that it has now; what is deployed meanwhile stays."""
    settings = REPOSITORY / f"Pulumi.{deployment.name}.yaml"
    before = settings.read_text()
    try:
        yield
    finally:
        settings.write_text(before)


@contextmanager
def own_store(platform: Platform) -> Iterator[SeaweedFS]:
    """A store of this machine, which pods of the embedded cluster reach."""
    if platform.brought_kubeconfig is not None:
        pytest.skip("needs the embedded cluster, whose pods reach this machine")
    with SeaweedFS(str(platform.cluster.ranges.machine)) as store:
        yield store
