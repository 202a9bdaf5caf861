"""Training jobs of a stack: started, watched and disturbed at a step that the test chooses."""

import json
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster.conftest import Deployment
from tests.copies import copy_part
from tests.infra.program.test_program import in_git
from tests.waiting import eventually

BOOT_FILE = "train_mnist.py"
HELD = "train_held.py"
"""The same, but a run that begins at step 0 stands still once it has saved its first checkpoint,
until it is ended: however fast the machine, there is time to disturb it, and then it goes on."""

HELD_TEXT = textwrap.dedent(
    """
    import sys, threading
    from train_mnist import main
    from training import command_line
    from training.checkpoints import Checkpoints

    restore, save = Checkpoints.restore, Checkpoints.save
    restored = []

    def restore_and_tell(self):
        restored.append(restore(self))
        return restored[-1]

    def save_and_stand_still(self, done):
        save(self, done)
        if restored == [0]:
            print(f"Standing still at step {done}", flush=True)
            threading.Event().wait()

    Checkpoints.restore, Checkpoints.save = restore_and_tell, save_and_stand_still
    command_line.run(main)
    """
)


class Job:
    """The training jobs of a stack, whose code folder is a Git repository of its own."""

    def __init__(self, deployment: Deployment, code: Path, model: str) -> None:
        self.deployment, self.code, self.model = deployment, code, model
        self.notes = 0
        copy_part("training/mnist", code)
        (code / HELD).write_text(HELD_TEXT)
        in_git(code, "init", "--quiet")
        in_git(code, "add", ".")
        in_git(code, "commit", "--quiet", "--message=first")
        deployment.configure(f"codeDir={code}", "flavour=cpu-small", f"modelName={model}")
        # What stands still, and is not disturbed because a test has failed, ends some time; and
        # not while a busy machine kills one `up`, runs another and starts a second pod.
        deployment.configure("timeout=8m")

    def parameters(self, *values: str) -> None:
        self.deployment.configure(*(f"runParameters.{value}" for value in values))

    def another_run(self, boot_file: str = BOOT_FILE) -> None:
        """Change a file that changes nothing of the result.

        It names the model: modules that share a stack must not find each other's runs.
        """
        self.notes += 1
        (self.code / "notes.txt").write_text(f"{self.model} {self.notes}")
        self.deployment.configure(f"bootFile={boot_file}")

    def up_meanwhile(self, action: Callable[[], None]) -> "object":
        """Run `pulumi up`, and `action` while it runs; return how it ended."""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self.deployment.up)
            action()
            return done.result()

    def store(self):
        return self.deployment.store()

    def keys(self, prefix: str) -> list[str]:
        answer = self.store().list_objects_v2(
            Bucket=f"{self.deployment.namespace}-output", Prefix=prefix
        )
        return [entry["Key"] for entry in answer.get("Contents", ())]

    def versions(self) -> list[int]:
        keys = self.keys(f"models/{self.model}/")
        return sorted(int(key.split("/")[2]) for key in keys if key.endswith("manifest.json"))

    def log(self, worker: int = 0) -> str:
        """The log of the newest run, all its attempts."""
        (run,) = {self.pods()[-1]["metadata"]["annotations"]["dlstack.dev/run-hash"][:12]}
        path = "log.txt" if worker == 0 else f"workers/{worker}/log.txt"
        body = self.store().get_object(
            Bucket=f"{self.deployment.namespace}-output", Key=f"runs/{run}/{path}"
        )["Body"]
        return body.read().decode()

    def logged(self, text: str) -> bool:
        """Wait until the log of the newest run has a text.

        `up` ends when a model is published, and the last lines may be on their way yet.
        """
        return bool(eventually(lambda: text in self.log(), 60))

    def names(self, count: int) -> list[str]:
        """Return the names of the stack's Jobs once there are so many.

        One that Pulumi has deleted is there until Kubernetes has taken its pods away.
        """
        found: list[str] = []

        def there() -> bool:
            found[:] = self.deployment.names("jobs")
            return len(found) == count

        eventually(there, 120)
        return found

    def pods(self) -> list[dict]:
        """The pods of the newest Job, the newest last."""

        def created(one: dict) -> str:
            return one["metadata"]["creationTimestamp"]

        newest = max(self.deployment.items("jobs"), key=created)
        label = f"batch.kubernetes.io/job-name={newest['metadata']['name']}"
        return sorted(self.deployment.items("pods", "--selector", label), key=created)

    def await_checkpoint(self, known: set[str]) -> list[dict]:
        """Return the running pods once a run that is not `known` has a checkpoint in the bucket."""
        until = time.monotonic() + 300
        while time.monotonic() < until:
            states = [key for key in self.keys("runs/") if key.endswith("/checkpoints/checkpoint")]
            if set(states) - known:
                return [pod for pod in self.pods() if pod["status"]["phase"] == "Running"]
            time.sleep(0.2)
        raise AssertionError("no checkpoint came")

    def checkpoints(self) -> set[str]:
        return {key for key in self.keys("runs/") if key.endswith("/checkpoints/checkpoint")}

    def disturbed_up(self, action: Callable[[list[dict]], None]):
        """Run `pulumi up` on another run, and `action` on its pods after the first checkpoint."""
        self.another_run(HELD)
        known = self.checkpoints()
        return self.up_meanwhile(lambda: action(self.await_checkpoint(known)))

    def delete(self, pod: dict) -> None:
        name = pod["metadata"]["name"]
        done = self.deployment.kubectl("delete", "pod", name)
        assert done.returncode == 0, done.stderr

    def evict(self, pod: dict) -> None:
        """Let the API delete it as it does when a node is drained."""
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{self.deployment.namespace}/pods/{name}/eviction"
        done = self.deployment.kubectl(
            "create", "--raw", path, "--filename=-", given=json.dumps(eviction)
        )
        assert done.returncode == 0, done.stderr

    def kill_boot_file(self, pod: dict) -> None:
        """Kill all processes of the container but the first, the agent."""
        done = self.deployment.kubectl(
            *("exec", pod["metadata"]["name"], "--"),
            *("python3", "-c", "import os, signal; os.kill(-1, signal.SIGKILL)"),
        )
        assert done.returncode in (0, 137), done.stderr

    def accuracy(self) -> float:
        return self.deployment.outputs()["metrics"]["accuracy"]
