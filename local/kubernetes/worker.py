"""One node beside the first: made, started, cut off, killed, stopped.

It is a machine of its own as far as Kubernetes sees: a kubelet, containerd and kube-proxy in
namespaces of their own, with a folder of its own for what they keep. The disk, the kernel and the
processors are this machine's.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..home import Home
from ..machine import resolver
from ..machine.cgroups import ControlGroup
from ..machine.namespaces import NAME, Namespaces
from ..machine.network import NodeNetwork
from ..machine.processes import Daemon
from . import addons, configuration, containerd
from .nodes import FOLDER, Node
from .pki import Authority
from .shared_images import SharedImages

_PROCESSES = (NAME, "containerd", configuration.NETWORK_POLICIES, "kubelet", "kube-proxy")


@dataclass(frozen=True)
class Worker:
    """A node of the cluster below `home.platform`."""

    home: Home
    node: Node

    @property
    def folder(self) -> Path:
        """What it keeps."""
        return self.home.platform / FOLDER / self.node.name

    def processes(self) -> list[Daemon]:
        """Its processes in the order in which they start, to look at and to stop."""
        return [Daemon(name, (), self.folder) for name in _PROCESSES]

    def is_running(self) -> bool:
        """Whether any of its processes is alive."""
        return any(process.pid() for process in self.processes())

    def prepare(
        self,
        images: SharedImages,
        sandbox_image: str,
        first: Namespaces,
        command: Callable[[str], list[str | Path]],
    ) -> dict[str, Daemon]:
        """Have its namespaces, network, files and images, and containerd running.

        Args:
            images: of the first node.
            sandbox_image: holds the program that keeps a pod's namespaces open.
            first: of the first node.
            command: the words that start a program of Kubernetes.

        Returns:
            Its processes by name; `start` starts those that do not run yet.

        Raises:
            LocalError: the machine refuses.
        """
        if self._namespaces.are_former() or not images.are_in(self._store):
            self.stop()
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not images.are_in(self._store):
            images.give(self._store)
        pki = self.home.platform / "pki"
        configuration.write_node(
            self.folder, self.node, Authority(pki), pki, self._group.name, sandbox_image
        )
        needs_resolver = resolver.write(self.folder, self.node.ranges)
        self._namespaces.start()
        enter, member = self._namespaces.enter(), self._namespaces.member()
        assert member is not None
        dns_port = resolver.PORT if needs_resolver else None
        self._network.connect_another(enter, member, dns_port, first.enter())
        self._group.prepare()
        daemons = configuration.node_daemons(self.folder, self.node, pki, command)
        self.start(daemons["containerd"])
        return daemons

    def start(self, daemon: Daemon) -> bool:
        """Start one of its processes; true when it was started now."""
        return daemon.start([*self._namespaces.enter(), *daemon.argv])

    def start_policies(self, program: Path) -> Daemon:
        """Have NetworkPolicies decide about its pods' connections; the process that does.

        Args:
            program: `network-policies`.

        Raises:
            MachineError: the kernel can't.
        """
        pki = self.home.platform / "pki"
        self._network.queue_connections(self._namespaces.enter())
        daemon = addons.policies(self.folder, self.node, pki, program)
        self.start(daemon)
        return daemon

    def are_policies_enforced(self) -> bool:
        """Whether somebody decides about its pods' connections."""
        return self._network.are_decided(self._namespaces.enter())

    def answers(self) -> bool:
        """Whether its containerd does."""
        return containerd.ctr(self._namespaces.enter(), "version").returncode == 0

    def cut(self) -> None:
        """Have it reach nobody, and nobody it; all that runs on it goes on.

        Raises:
            MachineError: it does not run.
        """
        self._network.cut()

    def join(self) -> None:
        """Undo `cut`.

        Raises:
            MachineError: it does not run.
        """
        self._network.join()

    def kill(self) -> None:
        """End all that runs on it without a word to anybody, as when its power is cut."""
        if self._namespaces.member() is not None:
            self._network.cut()
        self._group.kill()
        self._namespaces.end()
        self._clear()

    def stop_agents(self) -> None:
        """End what would start pods anew. Before `stop`."""
        for name in ("kube-proxy", "kubelet"):
            Daemon(name, (), self.folder).stop()

    def stop(self, grace_seconds: float = 0) -> None:
        """End all its processes, and its pods.

        Args:
            grace_seconds: for pods that write something when they are asked to end.
        """
        self.stop_agents()
        self._group.end_processes(grace_seconds)
        Daemon("containerd", (), self.folder).stop()
        self._namespaces.end()
        self._clear()

    def remove(self) -> None:
        """Stop it, and remove what it keeps."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        for process in self.processes():
            process.stop()
        self._network.unplug()

    @property
    def _store(self) -> Path:
        return self.folder / "containerd"

    @property
    def _group(self) -> ControlGroup:
        return ControlGroup(f"{self.home.name}/{self.node.name}")

    @property
    def _network(self) -> NodeNetwork:
        return NodeNetwork(self.home.name, self.node.ranges, node=self.node.number)

    @cached_property
    def _namespaces(self) -> Namespaces:
        return Namespaces(self.folder, self.home.root, configuration.KERNEL_SETTINGS)
