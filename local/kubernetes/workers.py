"""The nodes beside the first: which there are, and what starts all of them."""

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .. import node_count
from ..build.images import Images
from ..build.programs import NETWORK_POLICIES, Programs
from ..console import LocalError, step
from ..home import Home
from ..machine.namespaces import Namespaces
from ..machine.processes import Daemon
from ..machine.ranges import Ranges
from . import nodes
from .api_server import ApiServer
from .nodes import FIRST, Node
from .readiness import READY_SECONDS, answers, is_ready, wait_for
from .shared_images import SharedImages
from .trial import Trial
from .worker import Worker


@dataclass(frozen=True)
class Workers:
    """Those of the cluster below `home.platform`."""

    home: Home
    ranges: Ranges
    first: Namespaces
    """Of the first node."""
    images: Images
    programs: Programs
    api: ApiServer

    def all(self) -> list[Worker]:
        """Those that the cluster is to have."""
        return [
            Worker(self.home, Node(number, self.ranges))
            for number in range(2, node_count.count(self.home.platform) + 1)
        ]

    def made(self) -> list[Worker]:
        """Those that have a folder: also those that are to go."""
        numbers = [
            int(folder.name.rpartition("-")[2])
            for folder in (self.home.platform / nodes.FOLDER).glob(f"{FIRST}-[0-9]")
        ]
        return [Worker(self.home, Node(number, self.ranges)) for number in sorted(numbers)]

    def named(self, name: str) -> Worker:
        """The one that is called `name`.

        Raises:
            LocalError: there is none.
        """
        workers = {one.node.name: one for one in self.all()}
        if name not in workers:
            have = f"It has {', '.join(workers)}" if workers else "It has one node"
            raise LocalError(
                f"the cluster has no node '{name}' that can be cut off or killed.",
                f"{have}, and '{FIRST}' has the control plane. `{node_count.VARIABLE}=3 make up` "
                "gives it three nodes.",
            )
        return workers[name]

    def start(self, of_first: Sequence[Daemon]) -> None:
        """Start what does not run of them, and remove those that are too many.

        Args:
            of_first: the processes of the first node, which runs and has all images.

        Raises:
            LocalError: a process did not come up, or pods can't do what they need to.
        """
        self._remove_surplus()
        if workers := self.all():
            with step(f"start {' and '.join(one.node.name for one in workers)}"):
                images = self._shared_images()
                images.make()
                with ThreadPoolExecutor(len(workers)) as pool:
                    list(pool.map(lambda one: self.start_one(one, of_first), workers))
            for former in images.folder.parent.glob("images-*"):
                if former != images.folder:
                    shutil.rmtree(former, ignore_errors=True)

    def start_one(self, worker: Worker, of_first: Sequence[Daemon]) -> None:
        """Start what does not run of one, and wait until a pod has tried it.

        Args:
            of_first: the processes of the first node.

        Raises:
            LocalError: as for `start`.
        """
        daemons = worker.prepare(
            self._shared_images(), self.images.platform, self.first, self.programs.command
        )
        wait_for(daemons["containerd"], worker.answers)
        policies = worker.start_policies(self.programs.path(NETWORK_POLICIES))
        wait_for(policies, worker.are_policies_enforced)
        node, kubelet, proxy = worker.node, daemons["kubelet"], daemons["kube-proxy"]
        if not worker.start(kubelet) and self.api.get(f"/api/v1/nodes/{node.name}") is None:
            # Somebody has deleted the node, and only a start tells of it.
            kubelet.stop()
            worker.start(kubelet)
        worker.start(proxy)
        processes = [*of_first, *worker.processes()]
        trial = Trial(processes, self.api.ask, self.api.last_lines, node.name)
        self.api.apply(trial.manifest(self.images.platform))
        wait_for(kubelet, lambda: is_ready(self.api, node, kubelet))
        wait_for(proxy, lambda: answers(node, "kube-proxy"))
        trial.finish(READY_SECONDS)

    def _remove_surplus(self) -> None:
        """Remove those that are too many, and what runs on them."""
        for worker in self.made():
            if worker.node.number > node_count.count(self.home.platform):
                name = worker.node.name
                with step(f"remove {name}"):
                    worker.remove()
                    self.api.kubectl("delete", "node", name, "--ignore-not-found")

    def _shared_images(self) -> SharedImages:
        folder = self.home.platform
        names = f"{self.images.platform} {self.images.runtime}"
        key = hashlib.sha256(names.encode()).hexdigest()[:12]
        return SharedImages(
            folder=folder / nodes.FOLDER / f"images-{key}",
            source=folder / "containerd",
            containerd=Daemon("containerd", (), folder),
            enter=self.first.enter(),
        )
