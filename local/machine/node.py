"""What the embedded cluster needs of the machine, and how all of it is undone."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..console import LocalError, say, step
from .processes import end_process, run_logged

BRIDGE = "dlstack0"
CGROUP = "dlstack"
# Program to look for: Debian package that has it.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}
CNI_PACKAGE = "containernetworking-plugins"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_CGROUPS = Path("/sys/fs/cgroup")
_CAP_SYS_RESOURCE = 24  # linux/capability.h
BRING_A_CLUSTER = "Or bring a cluster of your own: set KUBECONFIG to its file."


def cni_plugins() -> Path:
    """The folder of the CNI plugins.

    Raises:
        LocalError: none of the usual folders has them.
    """
    for folder in CNI_FOLDERS:
        if (folder / "bridge").exists():
            return folder
    raise LocalError(
        f"the CNI plugins are in none of {', '.join(map(str, CNI_FOLDERS))}.",
        f"Install the package {CNI_PACKAGE}. {BRING_A_CLUSTER}",
    )


def may_raise_limits() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, which some machines take away."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)


def check_machine() -> None:
    """Refuse a machine that can't be a node, before anything is made.

    Raises:
        LocalError: it is not Linux, or this is not root.
    """
    if sys.platform != "linux":
        raise LocalError(
            f"the embedded cluster needs Linux, and this is {sys.platform}.", BRING_A_CLUSTER
        )
    if os.geteuid() != 0:
        raise LocalError(
            f"the embedded cluster needs root, and this is user id {os.geteuid()}.",
            f"Run the command with sudo. {BRING_A_CLUSTER}",
        )


def install_packages(log: Path) -> None:
    """Install the Debian packages that are missing.

    Raises:
        LocalError: some are missing and apt is not there, or it failed.
    """
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not any((folder / "bridge").exists() for folder in CNI_FOLDERS):
        missing.append(CNI_PACKAGE)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise LocalError(
            f"these packages are missing, and there is no apt-get: {' '.join(missing)}.",
            f"Install them with this system's own tools. {BRING_A_CLUSTER}",
        )
    apt = ("apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=120")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"install Debian packages: {' '.join(missing)}"):
        run_logged([*apt, "update"], log, environment=environment)
        # Packages that bring a service would start it, and it would take the ports and folders of
        # nobody's cluster.
        with _no_services():
            run_logged(
                [*apt, "install", "--yes", "--no-install-recommends", *missing],
                log,
                environment=environment,
            )


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting their services (policy-rc.d, status 101: action forbidden)."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def prepare(folder: Path, node_ip: str, pod_cidr: str) -> None:
    """Give the machine the node's address, IP forwarding and control group, where missing."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    if f" {node_ip}/" not in _run("ip", "address", "show", "dev", "lo"):
        _run("ip", "address", "add", f"{node_ip}/32", "dev", "lo")
    for parent in _cgroup_parents():
        (parent / CGROUP).mkdir(exist_ok=True)
    if (_CGROUPS / "cgroup.subtree_control").exists():
        controllers = (_CGROUPS / "cgroup.controllers").read_text().split()
        for control in (_CGROUPS, _CGROUPS / CGROUP):
            (control / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in controllers))
    for setting, wanted in (
        ("net/ipv4/ip_forward", "1"),
        ("net/bridge/bridge-nf-call-iptables", "1"),
    ):
        path = Path("/proc/sys") / setting
        if not path.exists() and "bridge" in setting:
            subprocess.run(["modprobe", "br_netfilter"], capture_output=True)
        if path.exists() and path.read_text().strip() != wanted:
            before = folder / "sysctl" / setting.replace("/", ".")
            before.parent.mkdir(exist_ok=True)
            before.write_text(path.read_text())
            path.write_text(wanted)
    if "DROP" in _run("iptables", "--list-rules", "FORWARD").partition("\n")[0]:
        # A firewall (or Docker) that drops what it does not know would cut pods off from each
        # other.
        for side in ("--source", "--destination"):
            rule = (side, pod_cidr, "--jump", "ACCEPT", "--match", "comment", "--comment", BRIDGE)
            if subprocess.run(
                ["iptables", "--check", "FORWARD", *rule], capture_output=True
            ).returncode:
                _run("iptables", "--insert", "FORWARD", *rule)


def end_containers(containerd_socket: Path) -> None:
    """Kill every process of every pod, and the shims of containerd that watched over them."""
    for parent in _cgroup_parents():
        # Groups vanish while their processes are killed: os.walk, unlike rglob, passes over that.
        for group, *_ in os.walk(parent / CGROUP):
            for pid in _pids(Path(group) / "cgroup.procs"):
                end_process(pid, 0)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and str(containerd_socket).encode() in words:
                os.kill(int(process.name), signal.SIGKILL)


def restore(folder: Path, node_ip: str) -> None:
    """Undo `prepare` and what pods left: mounts, network, firewall rules, control groups."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True)
    for namespace in Path("/run/netns").glob("cni-*"):
        subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True)
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)
    shutil.rmtree(folder / "cni-addresses", ignore_errors=True)
    for family in ("iptables", "ip6tables"):
        rules = subprocess.run([f"{family}-save"], capture_output=True, text=True).stdout
        if "KUBE-" in rules or "CNI-" in rules or BRIDGE in rules:
            subprocess.run(
                [f"{family}-restore"], input=without_ours(rules), capture_output=True, text=True
            )
    subprocess.run(["ip", "address", "delete", f"{node_ip}/32", "dev", "lo"], capture_output=True)
    for before in (folder / "sysctl").glob("*"):
        (Path("/proc/sys") / before.name.replace(".", "/")).write_text(before.read_text())
        before.unlink()
    for parent in _cgroup_parents():
        _remove_cgroup(parent / CGROUP)


def without_ours(rules: str) -> str:
    """A firewall as iptables-save prints it, without what Kubernetes and the CNI plugins added."""
    ours = (":KUBE-", ":CNI-", "-A KUBE-", "-A CNI-", "-j KUBE-", "-j CNI-", f"--comment {BRIDGE}")
    return "\n".join(line for line in rules.splitlines() if not any(o in line for o in ours)) + "\n"


def _cgroup_parents() -> list[Path]:
    """Where the root control groups are: one folder in version 2, one a controller in version 1."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path.parent for path in _CGROUPS.glob("*/cgroup.procs")]


def _remove_cgroup(group: Path) -> None:
    """Remove a control group and those below it, once the kernel has let go of the dead."""
    until = time.monotonic() + 5
    for child, *_ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(child)
            except FileNotFoundError:
                pass
            except OSError as error:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                say(f"the control group {child} can't be removed: {error.strerror}")
            break


def _pids(members: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in members.read_text().split()]
    return []


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise LocalError(
            f"`{' '.join(words)}` failed: {done.stderr.strip()}",
            f"The embedded cluster needs this of the machine. {BRING_A_CLUSTER}",
        )
    return done.stdout
