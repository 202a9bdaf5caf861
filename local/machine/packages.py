"""The Debian packages that a node is made of, and no trace of their installation beside them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..console import say, step
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
_INSTALLS = "DLSTACK_INSTALLS"
"""Set for apt, and so for all that its packages run."""
CNI_PACKAGE = "containernetworking-plugins"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
# The image's base is Debian also where the machine is not: there this is missing.
KEYRING_PACKAGE = "debian-archive-keyring"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_POLICY = Path("/usr/sbin/policy-rc.d")
_UNITS = (Path("/etc/systemd/system"), Path("/etc/systemd/user"))


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


def missing() -> list[str]:
    """The packages that this machine lacks."""
    names = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if _cni_folder() is None:
        names.append(CNI_PACKAGE)
    if not KEYRING.exists():
        names.append(KEYRING_PACKAGE)
    return names


def install(log: Path) -> None:
    """Install the packages that are missing. The services that they bring are not enabled.

    Args:
        log: for what apt says. While apt runs, a file beside it says what has to be undone.

    Raises:
        MachineError: some are missing, and apt is not there.
        LocalError: apt failed.
    """
    finish(log)
    names = missing()
    if not names:
        return
    if shutil.which("apt-get") is None:
        raise MachineError(
            f"these packages are missing, and there is no apt-get: {' '.join(names)}.",
            "Install them with this system's own tools.",
        )
    with step(f"install Debian packages: {' '.join(names)}"):
        _apt(log, "update")
        # Before anything else: apt refuses to work on what another installation left half done.
        _configure(log)
        log.parent.mkdir(parents=True, exist_ok=True)
        _record(log).write_text(json.dumps({"new": _new(names), "links": sorted(_links())}))
        # Packages that bring a service would start it, and it would take the ports and folders of
        # nobody's cluster.
        with _no_services():
            _apt(log, "install", "--yes", "--no-install-recommends", *names)
        finish(log)


def finish(log: Path) -> None:
    """Undo what an installation did beside installing, also one that was killed.

    Packages that were left unpacked are configured. Links by which systemd would start a service of
    these packages at the next boot are removed.

    Raises:
        LocalError: dpkg can't configure what was left; its own words follow.
    """
    record = _record(log)
    if not record.exists():
        return
    before = json.loads(record.read_text())
    with _no_services():
        _configure(log)
    units = set()
    for link in sorted(_links() - set(before["links"])):
        unit = Path(os.readlink(link)).name
        if _owner(unit) in before["new"]:
            Path(link).unlink(missing_ok=True)
            units.add(unit)
    if Path("/run/systemd/system").exists() and units:
        # A policy of the machine's own may have let them start.
        subprocess.run(["systemctl", "daemon-reload"], capture_output=True)
        subprocess.run(["systemctl", "stop", *sorted(units)], capture_output=True)
    record.unlink()


def _configure(log: Path) -> None:
    """Configure what dpkg has unpacked only, if there is something."""
    audit = subprocess.run(["dpkg", "--audit"], capture_output=True, text=True).stdout
    # Its journal: with something in it, apt and dpkg refuse all other work.
    updates = Path("/var/lib/dpkg/updates")
    if audit.strip() or (updates.exists() and any(updates.iterdir())):
        say("an installation of packages was broken off here: it is brought to its end")
        run_logged(["dpkg", "--configure", "-a"], log, environment=_environment())
        _apt(log, "install", "--yes", "--fix-broken", "--no-install-recommends")


def _apt(log: Path, *words: str) -> None:
    waiting = ("--option", "DPkg::Lock::Timeout=120")
    run_logged(["apt-get", "--quiet", *waiting, *words], log, environment=_environment())


def _environment() -> dict[str, str]:
    return {"DEBIAN_FRONTEND": "noninteractive", _INSTALLS: "1"}


def _new(names: list[str]) -> list[str]:
    """All packages that apt would newly install for these, without those that it upgrades."""
    words = ["apt-get", "--simulate", "--quiet", "--no-install-recommends", "install", *names]
    plan = subprocess.run(words, capture_output=True, text=True).stdout
    return re.findall(r"(?m)^Inst (\S+) \(", plan)


def _links() -> set[str]:
    """The links by which systemd knows what is enabled."""
    return {
        str(path)
        for folder in _UNITS
        if folder.exists()
        for path in folder.rglob("*")
        if path.is_symlink()
    }


def _owner(unit: str) -> str:
    """The package that has a unit; empty when none has."""
    words = ["dpkg-query", "--search", f"*/systemd/*/{unit}"]
    found = subprocess.run(words, capture_output=True, text=True).stdout
    return found.partition(":")[0].partition(",")[0]


def _record(log: Path) -> Path:
    return log.with_suffix(".json")


def _cni_folder() -> Path | None:
    return next((folder for folder in CNI_FOLDERS if (folder / "bridge").exists()), None)


def _is_ours(policy: Path) -> bool:
    return policy.exists() and _MARK in policy.read_text()


@contextlib.contextmanager
def _no_services(policy: Path = _POLICY) -> Iterator[None]:
    """Keep our packages from starting their services (policy-rc.d, status 101: action forbidden).

    It forbids what our apt runs and nothing else: killed, this process leaves a machine where
    other packages' services start as ever, and where those of an apt that goes on alone do not.
    """
    if policy.exists() and not _is_ours(policy):
        yield
        return
    policy.write_text(f'#!/bin/sh\n{_MARK}\n[ -z "${_INSTALLS}" ] || exit 101\n')
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
