"""The stack `local`: the Pulumi program of this repository on this machine's cluster."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import person
from ..build.pulumi import pulumi_path
from ..console import LocalError, say, step
from ..home import REPOSITORY, Home
from ..machine.processes import run_logged
from . import encryption, locks, pulumi_command, torn_state

STACK = "local"
EXAMPLE = "training/mnist"
"""Default of `dlstack:codeDir`: the code folder whose model reads digits."""


def defaults(home: Home, kubeconfig: str) -> dict[str, str]:
    """The variables that name this machine's stack, and where they point."""
    return {
        "KUBECONFIG": kubeconfig,
        "PULUMI_HOME": str(home.stacks / "home"),
        # Without a second file of attributes beside each state: a pulumi that is killed between
        # the two leaves that one empty, and then no command can read the state any more ("EOF").
        "PULUMI_BACKEND_URL": f"file://{quote(str(home.stacks))}?metadata=skip",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_STACK": STACK,
    }


def environment(home: Home, kubeconfig: str) -> dict[str, str]:
    """The variables by which `pulumi`, `kubectl` and the client find this machine's parts.

    A variable that is set already keeps its value.
    """
    home.stacks.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = defaults(home, kubeconfig)
    if "PULUMI_CONFIG_PASSPHRASE" not in os.environ:
        own["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(encryption.file(home))
        if os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE") in (None, "", *own.values()):
            encryption.create(home)
    variables = {name: os.environ.get(name) or value for name, value in own.items()}
    path = pulumi_path(home, variables["PULUMI_HOME"])
    person.hand_over(home.stacks)
    path = os.pathsep.join([str(Path(sys.executable).parent), path])
    return {"PATH": path, **variables, **person.variables()}


def shown(url: str) -> str:
    """An address of a back end without the user and password that it may have (PostgreSQL's)."""
    return re.sub(r"//[^/]*@", "//", url)


@dataclass(frozen=True)
class Stack:
    """One stack of the program, driven by the Pulumi CLI."""

    variables: Mapping[str, str]
    """From `environment`."""

    @property
    def name(self) -> str:
        return self.variables["PULUMI_STACK"]

    def configure(self, wanted: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
        """Make the stack if need be; set `wanted`, and `defaults` where nothing is set.

        Returns:
            Key, without its namespace -> value. Keys that are not set have the default of
            Pulumi.yaml, and secret ones are left out.
        """
        self._create()
        known = {
            key.partition(":")[2]: str(entry["value"])
            # In a project of another name the defaults stand below that; 'dlstack' counts more.
            for key, entry in sorted(
                json.loads(self._read("config", "--json")).items(),
                key=lambda item: item[0].startswith("dlstack:"),
            )
            if "value" in entry
        }
        # Pulumi.yaml's default of a key that is not set is empty where the program has none.
        missing = {
            key: value
            for key, value in defaults.items()
            if not known.get(key) or _is_of_a_gone_folder(known[key])
        }
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

    def set_proxy(self, wanted: str | None, known: str | None) -> None:
        """Have `dlstack:proxy` follow this machine's environment.

        Args:
            wanted: its value; empty: there is no proxy; None: leave it as it is.
            known: its value as `configure` returns it; None: it is encrypted.
        """
        if wanted is None or wanted == known or (not wanted and known == "{}"):
            return
        if wanted:
            # With a user and a password in it, it is encrypted. By standard input: who looks at
            # this machine's processes reads no password.
            kind = "--secret" if "@" in wanted else "--plaintext"
            self._read("config", "set", kind, "dlstack:proxy", given=wanted)
        else:
            say("the environment names no proxy any more: dlstack:proxy is removed")
            self._read("config", "rm", "dlstack:proxy")

    def up(self, *, refresh: bool = False) -> None:
        """Run `pulumi up`, its progress on this terminal.

        Args:
            refresh: compare the state with what is there: something was lost that Pulumi made.

        Raises:
            LocalError: it failed; Pulumi has said why.
        """
        self._show(
            "up",
            "Put right what it says above, then run `make up` again: what is done is kept. "
            "`make logs` shows the whole log of the training job.",
            *(["--refresh"] if refresh else []),
        )

    def destroy(self) -> None:
        """Run `pulumi destroy`, its progress on this terminal."""
        self._show("destroy", "Put right what it says above, then run `make destroy` again.")

    def exists(self) -> bool:
        """Whether the stack was ever made, and not removed since (`pulumi stack rm`)."""
        return self._entry() is not None

    def resources(self) -> int:
        """How many resources the stack has: 0 where it is not deployed, or was never made."""
        entry = self._entry()
        return 0 if entry is None else int(entry.get("resourceCount") or 0)

    def _create(self) -> None:
        """Make the stack unless it is there; have `pulumi` in this folder take it by itself.

        Unless another one was selected here: that stays so.
        """
        selected = any(stack["current"] for stack in self._list())
        if self._entry() is None:
            words = ("stack", "init", self.name, *(["--no-select"] if selected else []))
            try:
                self._read(*words)
            except LocalError as error:
                if encryption.WRONG not in str(error):
                    raise
                encryption.forget_lost_salt(self._configuration)
                self._read(*words)
        elif not selected:
            self._read("stack", "select", self.name)

    @property
    def _configuration(self) -> Path:
        return REPOSITORY / f"Pulumi.{self.name.rpartition('/')[2]}.yaml"

    def _entry(self) -> dict[str, Any] | None:
        name = self.name.rpartition("/")[2]
        return next((one for one in self._list() if one["name"].rpartition("/")[2] == name), None)

    def _list(self) -> list[dict[str, Any]]:
        # A stack that PULUMI_STACK names would be the current one.
        listed = self._read("stack", "ls", "--json", leaving_out="PULUMI_STACK")
        stacks: list[dict[str, Any]] = json.loads(listed)
        return stacks

    def status(self) -> str:
        """The table of `python -m infra status`.

        Raises:
            LocalError: it could not tell all, and has said why. What it could tell is printed.
        """
        done = subprocess.run(
            [sys.executable, "-m", "infra", "status"],
            cwd=REPOSITORY,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            print(done.stdout, flush=True)
            raise LocalError("the stack's status is not complete.", "`make up` deploys it anew.")
        return done.stdout

    def _show(self, command: str, remedy: str, *flags: str) -> None:
        words = [command, "--yes", "--skip-preview", "--suppress-permalink=true", *flags]
        status, said = pulumi_command.run(words, self.variables)
        if status and encryption.WRONG in said and self._took_salt_of_state():
            status, said = pulumi_command.run(words, self.variables)
        held = locks.read(said)
        if status and held and self._may_clear(held):
            say(f"{held[0]} left the stack '{self.name}' locked and has ended: the lock is cleared")
            self._clear()
            status, said = pulumi_command.run(words, self.variables)
            held = locks.read(said)
        if status and held:
            raise LocalError(
                f"the stack '{self.name}' is locked by {' and '.join(map(str, held))}, "
                "which changes it.",
                f"Wait until that has ended, then run `make {command}` again. If it was killed or "
                f'its machine is lost: `eval "$(make env)"; pulumi cancel {self.name}`.',
            )
        if status < 0:
            raise LocalError(
                f"`pulumi {command}` was killed ({signal.Signals(-status).name}).",
                f"Run `make {command}` again: it clears what that leaves behind.",
            )
        if status:
            raise LocalError(f"`pulumi {command}` ended with status {status}.", remedy)

    def _took_salt_of_state(self) -> bool:
        """Whether the configuration was of this stack in another home, and is this one's now."""
        deployment = json.loads(self._read("stack", "export"))["deployment"]
        salt = (deployment.get("secrets_providers") or {}).get("state", {}).get("salt")
        return bool(salt) and encryption.take_salt_of_state(self._configuration, salt)

    def _clear(self) -> None:
        """Clear the lock of a `pulumi` that has ended, and what it had begun to make.

        Whatever is there of that is taken over when it is made again. Pulumi would warn of it at
        every `up` from now on.
        """
        self._read("cancel", "--yes", self.name)
        with contextlib.suppress(LocalError):
            # Of no resource: only the list of what was begun is cleared.
            flags = ("--yes", "--skip-preview", "--clear-pending-creates", "--exclude=**")
            self._read("refresh", *flags)

    def _may_clear(self, held: Sequence[locks.Lock]) -> bool:
        """Whether a lock protects nothing: its process has ended, and nobody else can hold it.

        In a back end of this machine's files only: elsewhere another machine may bear our name.
        """
        is_file = self.variables["PULUMI_BACKEND_URL"].startswith("file:")
        return is_file and all(lock.is_left_behind() for lock in held)

    def _read(self, *words: str, leaving_out: str = "", given: str = "") -> str:
        variables = {**os.environ, **self.variables}
        variables.pop(leaving_out, None)
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["pulumi", *words, "--non-interactive"],
            cwd=REPOSITORY,
            env=variables,
            input=given,
            capture_output=True,
            text=True,
            **person.as_person(),
        )
        if done.returncode:
            if torn := torn_state.find(self.variables["PULUMI_BACKEND_URL"]):
                raise torn
            raise LocalError(
                f"`pulumi {' '.join(words[:2])}` failed: {done.stderr.strip()}",
                f"The stack's state is in {shown(self.variables['PULUMI_BACKEND_URL'])}.",
            )
        return done.stdout


def data_folder(home: Home) -> Path:
    """Where `data_set` has the MNIST files."""
    return home.cache / "mnist"


def _is_of_a_gone_folder(value: str) -> bool:
    """Whether a value is the data set of a DLSTACK_HOME that is not there, or not for this user."""
    return value.endswith("/cache/mnist") and not os.path.exists(value)


def data_set(home: Home) -> Path:
    """The folder of the MNIST files, downloaded if need be."""
    folder = data_folder(home)
    with step("have the MNIST data set"):
        run_logged(
            [sys.executable, "-m", "training.datasets.download_mnist", f"--target_dir={folder}"],
            home.cache / "logs" / "mnist.log",
            cwd=REPOSITORY,
        )
    return folder
