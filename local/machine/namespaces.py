"""The namespaces that a node's processes live in: mounts and network are theirs alone.

So nothing of the node is in the way of another program, nor another program in the node's, and the
kernel clears everything away when the last of these processes ends.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..console import LocalError
from .processes import Daemon, end_process, tail

INSIDE = Path("/run/dlstack")
"""Where the node's processes see the cluster's folder: a short path without blanks."""
NAME = "node"
MOUNT_POINTS = ("/var/lib/kubelet", "/var/lib/cni", "/var/log/containers")
_SECONDS = 30
_STAYS = "exec sleep infinity"
_MAKES = r"""
set -e
folder=$1 home=$2 kubelet=$3 resolv=$(readlink -m /etc/resolv.conf)
shift 3
cd "$home"
# What others have mounted here for a while would stay as long as the node.
while read -r _ point type _; do
    case "$type $point" in
    nsfs\ * | *\ /run/*)
        case "$home/" in
        "$point"/*) ;;
        *) umount --lazy "$(printf %b "$point")" || true ;;
        esac ;;
    esac
done < /proc/mounts
mount -t tmpfs -o mode=755 dlstack /run
# A home below /run would be hidden.
if ! [ -e "$home" ]; then
    mkdir -p "$home"
    mount --no-canonicalize --rbind . "$home"
fi
cd "$folder"
mkdir /run/netns
mkdir -m 711 /run/containerd
mkdir -m 700 /run/settings
# The kubelet wants these settings of the whole machine, and gets to see them. What the machine has
# stays.
for setting; do
    file=/run/settings/$(echo "${setting%%=*}" | tr / .)
    echo "${setting#*=}" > "$file"
    if [ -e "/proc/sys/${setting%%=*}" ]; then
        mount --bind "$file" "/proc/sys/${setting%%=*}"
    fi
done
# Folders whose names are fixed in the programs.
mount --bind "$kubelet" /var/lib/kubelet
mount -t tmpfs -o mode=700 dlstack /var/lib/cni
mount -t tmpfs -o mode=700 dlstack /var/log/containers
# The servers that the machine asks for names may be out of reach from here.
case $resolv in
/run/*)
    mkdir -p "$(dirname "$resolv")"
    : > "$resolv" ;;
esac
if [ -e "$resolv" ]; then
    mount --bind resolv.conf "$resolv"
fi
echo 1 > /proc/sys/net/ipv4/ip_forward
mkdir /run/dlstack
mount --no-canonicalize --rbind . /run/dlstack
cd /run/dlstack
"""


@dataclass(frozen=True)
class Namespaces:
    """The mount and network namespace of the node in `folder`."""

    folder: Path
    """Of the cluster. Its `resolv.conf` is the one of the node, and of pods."""
    home: Path
    """Where programs, images and volumes are; the node sees it under its name here."""
    settings: Mapping[str, str]
    """Kernel settings by name that the node's processes see, whatever the machine has."""

    @property
    def _holder(self) -> Daemon:
        """The process that makes the namespaces and keeps them while others start and end."""
        kubelet = self.folder / "kubelet"
        words = (*("unshare", "--mount", "--net", "--propagation", "slave"), "sh", "-c")
        seen = (f"{name}={value}" for name, value in self.settings.items())
        paths = (NAME, self.folder, self.home, kubelet)
        return Daemon(NAME, (*words, _MAKES + _STAYS, *paths, *seen), self.folder)

    def are_former(self) -> bool:
        """Whether the node's processes are in namespaces of another version of dlstack."""
        return self.member() is not None and self._holder.has_changed()

    def start(self) -> None:
        """Have the namespaces, and the process that holds them.

        Raises:
            LocalError: they can't be made.
        """
        (self.folder / "kubelet").mkdir(exist_ok=True)
        if (member := self.member()) is None:
            self._make_mount_points()
            self._holder.start()
        else:
            # It alone was killed: the others are where they were.
            self._holder.start(_enter(member) + ["sh", "-c", f"cd {INSIDE} && {_STAYS}"])
        until = time.monotonic() + _SECONDS
        while not self._is_held():
            if self._holder.pid() is None or time.monotonic() > until:
                raise LocalError(
                    "the node's namespaces can't be made.",
                    f"{self._holder.log} ends with:\n{tail(self._holder.log)}",
                )
            time.sleep(0.005)

    def end(self) -> None:
        """End every process in them. Their mounts, addresses and firewall rules go with them."""
        while members := self.members():
            for pid in members:
                end_process(pid, 0)
        self._holder.stop()
        self._remove_mount_points()

    def enter(self) -> list[str]:
        """The words before a command that is to run in the namespaces, in the cluster's folder.

        Raises:
            LocalError: they are gone.
        """
        pid = self._holder.pid() or self.member()
        if pid is None:
            raise LocalError("the node does not run.", "`make up` starts it.")
        return _enter(pid)

    def member(self) -> int | None:
        """The id of any process in them."""
        return next(iter(self.members()), None)

    def members(self) -> list[int]:
        """The ids of all processes in them: known by what they see, also if nothing else is.

        Those in pods are not among them: a pod sees its own mounts only.
        """
        if not self.folder.exists():
            return []
        here, own = self.folder.stat(), os.stat("/proc/self/ns/mnt")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                seen = os.stat(process / "root" / INSIDE.relative_to("/"))
                if os.path.samestat(seen, here) and not os.path.samestat(
                    os.stat(process / "ns/mnt"), own
                ):
                    found.append(int(process.name))
        return found

    def _is_held(self) -> bool:
        pid = self._holder.pid()
        with contextlib.suppress(OSError):
            return pid is not None and Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
        return False

    @property
    def _made(self) -> Path:
        """A list of the folders that were made as mount points."""
        return self.folder / "mount-points"

    def _make_mount_points(self) -> None:
        made = self._made.read_text().splitlines() if self._made.exists() else []
        for point in map(Path, MOUNT_POINTS):
            if not point.exists():
                made += [str(path) for path in (point, *point.parents) if not path.exists()]
                self._made.write_text("".join(f"{path}\n" for path in made))
                point.mkdir(parents=True)

    def _remove_mount_points(self) -> None:
        """Remove the folders that were made, unless another program uses them by now."""
        if self._made.exists():
            for path in self._made.read_text().splitlines():
                with contextlib.suppress(OSError):
                    os.rmdir(path)
            self._made.unlink()


def _enter(pid: int) -> list[str]:
    return ["nsenter", "--target", str(pid), "--mount", "--net", "--wd", "--"]
