"""The stack `local`: the Pulumi program of this repository on this machine's cluster."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..build.pulumi import pulumi_path
from ..console import LocalError, step
from ..home import REPOSITORY, Home, write_private
from ..machine.processes import run_logged

STACK = "local"
GRPC_NODE_PORT = 31670
EXAMPLE = "training/mnist"
"""Default of `dlstack:codeDir`: the code folder whose model reads digits."""


def environment(home: Home, kubeconfig: Path) -> dict[str, str]:
    """The variables by which `pulumi`, `kubectl` and the client find this machine's parts.

    A variable that is set already keeps its value.
    """
    home.stacks.mkdir(mode=0o700, parents=True, exist_ok=True)
    defaults = {
        "KUBECONFIG": str(kubeconfig),
        "PULUMI_HOME": str(home.stacks / "home"),
        "PULUMI_BACKEND_URL": f"file://{home.stacks}",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_STACK": STACK,
    }
    if "PULUMI_CONFIG_PASSPHRASE" not in os.environ:
        passphrase = home.stacks / "passphrase"
        if not passphrase.exists():
            write_private(passphrase, secrets.token_urlsafe(32).encode())
        defaults["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase)
    variables = {name: os.environ.get(name) or value for name, value in defaults.items()}
    path = pulumi_path(home, variables["PULUMI_HOME"])
    return {"PATH": os.pathsep.join([str(Path(sys.executable).parent), path]), **variables}


@dataclass(frozen=True)
class Stack:
    """One stack of the program, driven by the Pulumi CLI."""

    variables: Mapping[str, str]
    """From `environment`."""

    def configure(self, wanted: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
        """Make the stack if need be; set `wanted`, and `defaults` where nothing is set.

        Returns:
            Key, without its namespace -> value. Keys that are not set have the default of
            Pulumi.yaml, and secret ones are left out.
        """
        self._read("stack", "select", "--create", self.variables["PULUMI_STACK"])
        known = {
            key.removeprefix("dlstack:"): str(entry["value"])
            for key, entry in json.loads(self._read("config", "--json")).items()
            if "value" in entry
        }
        # Pulumi.yaml's default of a key that is not set is empty where the program has none.
        missing = {key: value for key, value in defaults.items() if not known.get(key)}
        changed = {
            key: value for key, value in {**missing, **wanted}.items() if known.get(key) != value
        }
        if changed:
            words = [
                word
                for key, value in changed.items()
                for word in ("--plaintext", f"dlstack:{key}={value}")
            ]
            self._read("config", "set-all", *words)
        return {**known, **changed}

    def up(self) -> None:
        """Run `pulumi up`, its progress on this terminal.

        Raises:
            LocalError: it failed; Pulumi has said why.
        """
        self._show(
            "up",
            "Put right what it says above, then run `make up` again: what is done is kept. "
            "`make logs` shows the whole log of the training job.",
        )

    def destroy(self) -> None:
        """Run `pulumi destroy`, its progress on this terminal."""
        self._show("destroy", "Put right what it says above, then run `make destroy` again.")

    def exists(self) -> bool:
        """Whether the stack was ever made."""
        stacks = json.loads(self._read("stack", "ls", "--json"))
        return any(
            stack["name"].rpartition("/")[2] == self.variables["PULUMI_STACK"] for stack in stacks
        )

    def status(self) -> None:
        """Print the table of `python -m infra status`.

        Raises:
            LocalError: it could not tell all, and has said why.
        """
        done = subprocess.run(
            [sys.executable, "-m", "infra", "status"],
            cwd=REPOSITORY,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise LocalError("the stack's status is not complete.", "`make up` deploys it anew.")

    def _show(self, command: str, remedy: str) -> None:
        # Pulumi's table of the resources goes to stderr with our own progress: stdout is for
        # answers.
        status = subprocess.run(
            ["pulumi", command, "--yes", "--skip-preview", "--suppress-permalink=true"],
            cwd=REPOSITORY,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        ).returncode
        if status:
            raise LocalError(f"`pulumi {command}` ended with status {status}.", remedy)

    def _read(self, *words: str) -> str:
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive"],
            cwd=REPOSITORY,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise LocalError(
                f"`pulumi {' '.join(words[:2])}` failed: {done.stderr.strip()}",
                f"The stack's state is in {self.variables['PULUMI_BACKEND_URL']}.",
            )
        return done.stdout


def data_set(home: Home) -> Path:
    """The folder of the MNIST files, downloaded if need be."""
    folder = home.cache / "mnist"
    with step("have the MNIST data set"):
        run_logged(
            [sys.executable, "-m", "training.datasets.download_mnist", f"--target_dir={folder}"],
            home.cache / "logs" / "mnist.log",
            cwd=REPOSITORY,
        )
    return folder
