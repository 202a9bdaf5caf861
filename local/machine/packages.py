"""The Debian packages that a node is made of."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..console import step
from .checks import MachineError
from .processes import run_logged

# Program to look for: Debian package that has it.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}
_MARK = "# Made by dlstack while it installs packages."
CNI_PACKAGE = "containernetworking-plugins"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


def cni_plugins() -> Path:
    """The folder of the CNI plugins.

    Raises:
        MachineError: none of the usual folders has them.
    """
    folder = _cni_folder()
    if folder is None:
        raise MachineError(
            f"the CNI plugins are not in {' or '.join(map(str, CNI_FOLDERS))}.",
            f"Install the package {CNI_PACKAGE}.",
        )
    return folder


def install(log: Path) -> None:
    """Install the packages that are missing.

    Raises:
        MachineError: some are missing, and apt is not there.
        LocalError: apt failed.
    """
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if _cni_folder() is None:
        missing.append(CNI_PACKAGE)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise MachineError(
            f"these packages are missing, and there is no apt-get: {' '.join(missing)}.",
            "Install them with this system's own tools.",
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


def _cni_folder() -> Path | None:
    return next((folder for folder in CNI_FOLDERS if (folder / "bridge").exists()), None)


@contextlib.contextmanager
def _no_services(policy: Path = Path("/usr/sbin/policy-rc.d")) -> Iterator[None]:
    """Keep packages from starting their services (policy-rc.d, status 101: action forbidden).

    It forbids only while this process runs: killed, it would leave a machine where no package ever
    starts its service.
    """
    if policy.exists() and _MARK not in policy.read_text():
        yield
        return
    policy.write_text(f"#!/bin/sh\n{_MARK}\n[ ! -e /proc/{os.getpid()} ] || exit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
