"""The first node's images for the other nodes: the same files, by links, with no second import.

containerd can't be shared among nodes, but what it keeps of an image never changes. So there is one
more copy of the first node's store: hard links to all that images consist of, and a catalogue that
knows of no container. Each further node begins with that catalogue and symbolic links into it.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..console import LocalError
from ..home import write_private
from ..machine.processes import Daemon, tail
from .containerd import offline

_CONTENT = Path("io.containerd.content.v1.content")
_CATALOGUE = Path("io.containerd.metadata.v1.bolt/meta.db")
_OVERLAYS = Path("io.containerd.snapshotter.v1.overlayfs")
_OVERLAYS_CATALOGUE = _OVERLAYS / "metadata.db"
_LAYERS = _OVERLAYS / "snapshots"
_OF_IMAGES = "of-images"
"""In a node's store: which copy it was made from."""


@dataclass(frozen=True)
class SharedImages:
    """A copy of the store `source`; there until another one takes its place."""

    folder: Path
    """Where it is, as this machine and all nodes see it."""
    source: Path
    """The store of the first node's containerd."""
    containerd: Daemon
    """Of the first node."""
    enter: Sequence[str]
    """The words before a command that is to run on the first node."""

    def make(self) -> None:
        """Make the copy unless it is there.

        Raises:
            LocalError: a layer can't be linked, or containerd can't read the copy.
        """
        if self.folder.exists():
            return
        unfinished = self.folder.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / _LAYERS).mkdir(parents=True)
        self._copy_catalogues(unfinished)
        _link(self.source / _CONTENT / "blobs", unfinished / _CONTENT / "blobs")
        failed = {}
        for layer in (self.source / _LAYERS).iterdir():
            # That of a running container may change meanwhile, and is of no use here.
            if said := _link(layer, unfinished / _LAYERS / layer.name):
                failed[layer.name] = said
        self._forget_containers(unfinished)
        if lost := [
            said for name, said in failed.items() if (unfinished / _LAYERS / name).exists()
        ]:
            raise LocalError(
                f"the nodes can't share the images of the first: {lost[0].strip()}",
                "Free some of the disk, and run `make up` again.",
            )
        unfinished.rename(self.folder)

    def give(self, store: Path) -> None:
        """Make the store of another node's containerd, which does not run.

        Args:
            store: its folder, made anew.
        """
        shutil.rmtree(store, ignore_errors=True)
        (store / _LAYERS).mkdir(parents=True)
        for catalogue in (_CATALOGUE, _OVERLAYS_CATALOGUE):
            (store / catalogue).parent.mkdir(exist_ok=True)
            shutil.copyfile(self.folder / catalogue, store / catalogue)
        _link(self.folder / _CONTENT / "blobs", store / _CONTENT / "blobs")
        for layer in (self.folder / _LAYERS).iterdir():
            (store / _LAYERS / layer.name).symlink_to(layer)
        (store / _OF_IMAGES).write_text(self.folder.name)

    def are_in(self, store: Path) -> bool:
        """Whether a node's store was made from this copy."""
        try:
            return (store / _OF_IMAGES).read_text() == self.folder.name
        except FileNotFoundError:
            return False

    def _copy_catalogues(self, target: Path) -> None:
        """Copy containerd's databases at one moment, as a power cut would leave them."""
        pid = self.containerd.pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            for catalogue in (_CATALOGUE, _OVERLAYS_CATALOGUE):
                (target / catalogue).parent.mkdir(exist_ok=True)
                shutil.copyfile(self.source / catalogue, target / catalogue)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _forget_containers(self, store: Path) -> None:
        """Have containerd remove all that is not of an image."""
        socket = Path("/run/containerd-of-images/containerd.sock")
        write_private(store / "containerd.toml", offline(store, socket).encode())
        daemon = Daemon("containerd-of-images", (), store)
        daemon.start([*self.enter, "containerd", "--config", store / "containerd.toml"])

        def ctr(*words: str) -> "subprocess.CompletedProcess[str]":
            # As long as it may take to start on a busy machine.
            client = ("ctr", "--connect-timeout=60s", "--address", socket, "--namespace=k8s.io")
            return subprocess.run([*self.enter, *client, *words], capture_output=True, text=True)

        try:
            containers = ctr("containers", "list", "--quiet")
            if containers.returncode:
                raise LocalError(
                    f"containerd can't read a copy of its own files: {containers.stderr.strip()}.",
                    f"{daemon.log} ends with:\n{tail(daemon.log)}",
                )
            for kind, found in (
                ("containers", containers.stdout.split()),
                ("leases", ctr("leases", "list", "--quiet").stdout.split()),
            ):
                if found:
                    ctr(kind, "delete", *found)
            # A lease that goes takes all with it that nothing refers to.
            ctr("leases", "create", "--id=unreferenced")
            ctr("leases", "delete", "--sync", "unreferenced")
        finally:
            daemon.stop()


def _link(source: Path, target: Path) -> str:
    """Have a folder's files elsewhere by hard links; what went wrong, empty if nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["cp", "--archive", "--link", source, target], capture_output=True, text=True
    )
    return done.stderr
