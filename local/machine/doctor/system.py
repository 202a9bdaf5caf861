"""Which system this is, and who runs on it: architecture, distribution, container, user, Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from .facts import Machine
from .finding import Finding, ok, problem, warning

ARCHITECTURES = ("x86_64", "aarch64")
TRIED = {("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")}
"""Distributions (ID and VERSION_ID of os-release) whose programs the cluster was started with."""
TOO_OLD = {("debian", "10"), ("debian", "11"), ("ubuntu", "18.04")}
"""Their containerd, below 1.6, can't talk to this version of Kubernetes."""
CAPABILITIES = {
    # linux/capability.h
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_ADMIN": 21,
    "CAP_MKNOD": 27,
}
SYS_RESOURCE = 24
OWN_CLUSTER = "or bring a cluster of your own: set KUBECONFIG to its file"


def examine(machine: Machine) -> Iterator[Finding]:
    if machine.system != "linux":
        yield problem(
            "system",
            f"the embedded cluster needs Linux, and this is {machine.system}",
            f"Use a virtual machine with Linux, {OWN_CLUSTER}.",
        )
    else:
        yield _distribution(machine)
        yield from _surroundings(machine)
    if machine.architecture in ARCHITECTURES:
        yield ok("architecture", machine.architecture)
    else:
        yield problem(
            "architecture",
            f"{machine.architecture}, and the images are for {' and '.join(ARCHITECTURES)}",
            f"Use another machine, {OWN_CLUSTER}.",
        )
    if machine.system == "linux":
        yield from _user(machine)


def distribution(machine: Machine) -> tuple[str, str, str]:
    """ID, VERSION_ID and PRETTY_NAME of os-release; empty where it does not say."""
    fields = {}
    for line in machine.text("/etc/os-release").splitlines():
        name, _, value = line.partition("=")
        fields[name] = " ".join(shlex.split(value)) if value else ""
    return fields.get("ID", ""), fields.get("VERSION_ID", ""), fields.get("PRETTY_NAME", "")


def _distribution(machine: Machine) -> Finding:
    name, version, pretty = distribution(machine)
    shown = pretty or "a Linux without /etc/os-release"
    if (name, version) in TOO_OLD and not machine.which("containerd"):
        return problem(
            "system",
            f"{shown}, whose containerd is too old",
            "Upgrade the system, or install containerd 1.6 or newer, as Docker's containerd.io.",
        )
    if (name, version) in TRIED or not version:
        return ok("system", shown)
    return ok("system", f"{shown}; not tried")


def _surroundings(machine: Machine) -> Iterator[Finding]:
    """Whether this is a container or a subsystem of another system."""
    kernel = machine.text("/proc/version")
    if "Microsoft" in kernel and "WSL2" not in kernel:
        yield problem(
            "virtualisation",
            "WSL 1, which has no Linux kernel",
            "Convert it in Windows: `wsl --set-version NAME 2`.",
        )
    elif "microsoft" in kernel.lower():
        yield ok("virtualisation", "WSL 2; not tried")
    container = _container(machine)
    if container:
        yield ok("virtualisation", f"a container ({container})")
    mapped = machine.text("/proc/self/uid_map").split()
    if mapped and mapped != ["0", "0", "4294967295"]:
        yield problem(
            "virtualisation",
            "a user namespace (rootless Docker or Podman, unprivileged LXC): its root is not root",
            f"Run on the machine itself or in a privileged container, {OWN_CLUSTER}.",
        )


def _container(machine: Machine) -> str:
    # A virtual machine may be made from Docker's image, with this file in it, on a disk of its own.
    if machine.exists("/.dockerenv") and not re.search(
        r" / / \S+ (?:\S+ )*- \S+ /dev/", machine.text("/proc/self/mountinfo")
    ):
        return "Docker"
    if machine.exists("/run/.containerenv"):
        return "Podman"
    named = machine.text("/run/systemd/container").strip()
    if named and named != "wsl":
        return named
    variables = machine.text("/proc/1/environ").split("\0")
    return next((v.partition("=")[2] for v in variables if v.startswith("container=")), "")


def _user(machine: Machine) -> Iterator[Finding]:
    if not machine.is_root:
        yield problem(
            "user",
            f"the embedded cluster needs root, and this is user id {machine.user}",
            f"Run the command with sudo, {OWN_CLUSTER}.",
        )
        return
    yield ok("user", "root")
    status = machine.text("/proc/self/status").splitlines()
    effective = next((int(line.split()[1], 16) for line in status if line[:7] == "CapEff:"), None)
    if effective is None:
        return
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        yield problem(
            "capabilities",
            f"root has no {', '.join(missing)} here",
            "Start the container with --privileged (LXC: security.privileged=true).",
        )
    elif not machine.may_write("/proc/sys/net/ipv4/ip_forward"):
        yield problem(
            "capabilities",
            "/proc/sys is read-only",
            "Start the container with --privileged (LXC: security.privileged=true).",
        )
    elif effective >> SYS_RESOURCE & 1:
        yield ok("capabilities", "all that a node needs")
    else:
        yield ok("capabilities", "without CAP_SYS_RESOURCE, which is managed without")


def python(machine: Machine, python: tuple[int, ...], has_venv: bool) -> Iterator[Finding]:
    """What the commands themselves need.

    Args:
        python: version of the Python that is to run them.
        has_venv: whether it makes virtual environments with pip.
    """
    version = ".".join(map(str, python[:3]))
    if python < (3, 11):
        yield problem(
            "Python",
            f"{version}, and 3.11 or newer is needed",
            "Install one (Ubuntu 22.04: `apt-get install python3.11 python3.11-venv`); "
            "`make` finds python3.11 to python3.14, others by `make up PYTHON=…`.",
        )
    elif not has_venv:
        yield problem(
            "Python",
            f"{version}, without venv",
            f"`apt-get install python3-venv` (or python{python[0]}.{python[1]}-venv).",
        )
    else:
        yield ok("Python", version)
    if machine.which("git"):
        yield ok("Git", "there")
    else:
        yield warning(
            "Git", "not there: a model does not know its commit", "`apt-get install git`."
        )


def packages(machine: Machine, missing: Sequence[str]) -> Finding:
    """The packages that a node is made of; `missing` names those that are not there."""
    if not missing:
        return ok("packages", "all there")
    if machine.which("apt-get"):
        return ok("packages", f"`make up` installs {', '.join(missing)}")
    return problem(
        "packages",
        f"not there, and there is no apt-get: {', '.join(missing)}",
        "Install them with this system's own tools.",
    )
