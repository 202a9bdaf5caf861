"""A machine within this one: a network, mounts and files of its own, to run a cluster on.

What happens there happens to no other program. The kernel, the control groups and the settings that
are not of a network are this machine's.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.home import REPOSITORY, Home
from local.machine import proxies

ADDRESS = "192.0.2.2"
"""Of the machine, in a network where it has one neighbour."""
NEIGHBOUR = "192.0.2.1"
_FOLDERS = ("/etc", "/opt", "/run", "/var/lib", "/var/log", "/usr/libexec", "/usr/sbin")
"""Changes to these go with the machine."""
# Left by clusters of this machine, and not there on a fresh one.
_NOT_THERE = ("/run/containerd", "/run/netns", "/run/dlstack*", "/var/lib/kubelet", "/var/lib/cni")
_MAKES = r"""
set -e
layers=$1
shift
mount -t tmpfs machine "$layers"
for folder in $1; do
    upper=$layers$folder/upper work=$layers$folder/work
    mkdir -p "$upper" "$work"
    mount -t overlay -o "lowerdir=$folder,upperdir=$upper,workdir=$work" machine "$folder"
done
rm -rf $2
# A machine that is no router, and takes no advice of routers.
for setting in ip_forward conf/all/accept_redirects; do
    echo 0 > /proc/sys/net/ipv4/$setting
done
ip link set lo up
exec sleep infinity
"""


@dataclass(frozen=True)
class Machine:
    """Commands that run there."""

    pid: int
    """Of a process there."""
    neighbour: int
    """Of a process on the neighbour."""
    home: Path

    def run(
        self, *words: str | Path, at: int = 0, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the repository, with its output, at the process `at` or here."""
        enter = ["nsenter", "--target", str(at or self.pid), "--mount", "--net", "--"]
        # Neither a proxy of this machine's loopback interface, which isn't there.
        ours = proxies.without(os.environ)
        environment = {
            **{n: v for n, v in ours.items() if n not in ("KUBECONFIG", "DLSTACK_NETWORK")},
            "DLSTACK_HOME": str(self.home),
        }
        return subprocess.run(
            [*enter, "env", "--chdir", REPOSITORY, *words],
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def must(self, *words: str | Path, at: int = 0, **variables: str) -> str:
        """Standard output and error of a command that succeeds."""
        done = self.run(*words, at=at, **variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def local(self, command: str, **variables: str) -> str:
        """Run `python -m local COMMAND`."""
        return self.must(sys.executable, "-m", "local", command, **variables)

    def traces(self) -> dict[str, list[str]]:
        """The state of the machine, for `traces.differences`."""
        name = Home(self.home).name
        seen: dict[str, list[str]] = json.loads(
            self.must(sys.executable, "-m", "tests.cluster.traces", name)
        )
        return seen

    def kubectl(self, *words: str | Path) -> str:
        kubeconfig = self.home / "platform" / "pki" / "admin.kubeconfig"
        return self.must(
            self.home / "platform" / "bin" / "kubectl", f"--kubeconfig={kubeconfig}", *words
        )


@contextmanager
def machine(folder: Path, cache: Path) -> Iterator[Machine]:
    """Have a machine, with the home of `folder`; a new one shares what is built in `cache`."""
    home = folder / "home"
    layers = folder / "layers"
    layers.mkdir(exist_ok=True)
    if not home.exists():
        home.mkdir()
        (home / "cache").symlink_to(cache)
    with (
        _namespaces(_MAKES, layers, " ".join(_FOLDERS), " ".join(_NOT_THERE)) as here,
        _namespaces("ip link set lo up; exec sleep infinity") as there,
    ):
        made = Machine(here, there, home)
        veth = ("type", "veth", "peer", "name", "eth0", "netns", str(there))
        for at, words in (
            (here, ("link", "add", "eth0", *veth)),
            # An address that is tentative for a second is a difference.
            (here, ("link", "set", "eth0", "addrgenmode", "none")),
            (here, ("address", "add", f"{ADDRESS}/24", "dev", "eth0")),
            (here, ("link", "set", "eth0", "up")),
            (there, ("address", "add", f"{NEIGHBOUR}/24", "dev", "eth0")),
            (there, ("link", "set", "eth0", "up")),
            (here, ("route", "add", "default", "via", NEIGHBOUR)),
        ):
            made.must("ip", *words, at=at)
        try:
            yield made
        finally:
            made.run(sys.executable, "-m", "local", "stop")


@contextmanager
def _namespaces(script: str, *arguments: str | Path) -> Iterator[int]:
    """Have a mount and a network namespace; give the id of a process in it."""
    unshare = ("unshare", "--mount", "--net", "--propagation", "private")
    with subprocess.Popen([*unshare, "sh", "-c", script, "sh", *arguments]) as process:
        try:
            until = time.monotonic() + 60
            while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.01)
            yield process.pid
        finally:
            process.kill()
