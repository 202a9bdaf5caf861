"""A Kubernetes on this machine, of one node or more: started, asked, stopped."""

import hashlib
import http.client
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .. import node_count
from ..build.images import Images
from ..build.programs import (
    COREDNS,
    KUBERNETES,
    NODE_PORTS,
    PAUSE,
    REACH,
    Program,
    Programs,
    programs_of,
)
from ..console import LocalError, say, step
from ..home import Home
from ..machine import inotify, resolver
from ..machine.cgroups import ControlGroup
from ..machine.namespaces import NAME, Namespaces
from ..machine.network import NodeNetwork
from ..machine.processes import Daemon, end_process, started_in
from ..machine.ranges import Ranges
from . import addons, configuration, containerd, former, memory, node_ports, proxy_relay
from .addons import Addons
from .api_server import ApiServer
from .configuration import (
    ETCD,
    ETCD_PEER,
    KERNEL_SETTINGS,
    METRICS_SERVER,
    NETWORK_POLICIES,
    ON_THE_MACHINE,
    PROCESSES,
    RESOLVER,
    VOLUME_PROVISIONER,
)
from .nodes import Node
from .provisioner import PROVISIONER, STORAGE_CLASS
from .readiness import READY_SECONDS, answers, is_ready, wait_for
from .trial import Trial
from .workers import Workers

PROGRAMS = (PAUSE, REACH, NODE_PORTS, COREDNS, KUBERNETES)
"""What a node runs, in the order in which it is built."""
FORMER_STORAGE_CLASS = "local"
GRACE_SECONDS = 3
MANIFESTS = Path(__file__).resolve().parent / "manifests"


@dataclass(frozen=True)
class Cluster:
    """The embedded cluster below `home.platform`."""

    home: Home

    @property
    def folder(self) -> Path:
        return self.home.platform

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.api.kubeconfig

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those that are nobody's but the cluster's, by themselves and as ranges."""
        ranges = self.ranges
        alone = (str(ranges.node), str(ranges.machine))
        networks = (ranges.balancers, ranges.nodes, ranges.pods, ranges.services)
        return (*alone, *map(str, networks))

    @cached_property
    def ranges(self) -> Ranges:
        """Its addresses."""
        return Ranges.of_cluster(self.folder)

    @cached_property
    def images(self) -> Images:
        """The images that pods are made of."""
        return Images(self.home)

    @cached_property
    def programs(self) -> Programs:
        """The programs that its processes run."""
        return programs_of(self.home)

    def programs_folder(self) -> Path:
        """A folder with `kubectl`, for PATH."""
        self.programs.make(KUBERNETES)
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        link = folder / "kubectl"
        # The binary that holds all of Kubernetes also goes by the name that it is called by.
        program = self.programs.command("kubectl")[0]
        if not link.is_symlink() or link.readlink() != program:
            link.unlink(missing_ok=True)
            link.symlink_to(program)
        return folder

    def is_running(self) -> bool:
        """Whether any process of the cluster is alive."""
        return any(
            process.pid()
            for processes in (self.processes(), *(one.processes() for one in self.workers.made()))
            for process in processes
        )

    def is_left_behind(self) -> bool:
        """Whether processes run though their folder was removed."""
        return not self.folder.exists() and bool(started_in(self.folder))

    def processes(self) -> list[Daemon]:
        """The first node's processes in the order in which they start, to look at and to stop."""
        listed = [Daemon(name, (), self.folder) for name in PROCESSES]
        # Few machines and clusters need these.
        seldom = (RESOLVER, proxy_relay.NAME, NETWORK_POLICIES, METRICS_SERVER)
        return [one for one in listed if one.name not in seldom or one.pid()]

    def needed_programs(self) -> list[Program]:
        """The programs that it is going to run, with what the environment asks for."""
        count = node_count.asked() or node_count.count(self.folder)
        return [*PROGRAMS, *addons.wanted(self.folder, count)]

    @cached_property
    def api(self) -> ApiServer:
        """Who answers for it."""
        return ApiServer(self.folder, self.ranges, self.programs)

    @property
    def workers(self) -> Workers:
        """The nodes beside the first."""
        ours = (self.home, self.ranges, self._namespaces, self.images, self.programs, self.api)
        return Workers(*ours)

    @property
    def _addons(self) -> Addons:
        return Addons(self.folder, self._first, self._network, self.programs, self.api)

    def start_runtime(self) -> None:
        """Start containerd unless it runs, and wait until it answers.

        Raises:
            LocalError: the machine lacks what a node needs, or containerd did not come up.
        """
        ranges = self.ranges
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._end_strays()
        if former.is_there(self.folder) or self._namespaces.are_former():
            # It serves on until all that takes its place is here: building may take minutes.
            self.programs.make(*PROGRAMS)
            self.images.make()
            with step("stop the processes of an earlier version"):
                self.stop()
        ranges.keep(self.folder)
        self._keep_count()
        addons.keep(self.folder)
        configuration.write(self.folder, ranges, self.home.name, self.images.platform)
        needs_resolver = resolver.write(self.folder, ranges)
        self._namespaces.start()
        self._connect(resolver.PORT if needs_resolver else None)
        ControlGroup(self.home.name).prepare()
        inotify.Limits().raise_low()
        daemons = self._daemons()
        if needs_resolver:
            self.programs.make(COREDNS)
            daemons[RESOLVER].start()
        else:
            daemons[RESOLVER].stop()
        if relay := proxy_relay.daemon(self.folder, os.environ, ranges):
            relay.start()
        else:
            Daemon(proxy_relay.NAME, (), self.folder).stop()
        if self._start(daemons["containerd"]):
            with step("start containerd"):
                wait_for(daemons["containerd"], lambda: self.ctr("version").returncode == 0)
                self._check_containers()

    def start(self) -> None:
        """Start what does not run as it should, and wait until a pod has tried the node.

        Raises:
            LocalError: a process did not come up, or pods can't do what they need to; the message
                has the last lines of the log that tells of it.
        """
        self.programs.make(KUBERNETES)
        daemons = self._daemons()
        daemons[node_ports.NAME] = self._node_ports()
        is_lost = memory.is_lost(self.folder)
        with step("start Kubernetes"):
            waiting: dict[str, Callable[[], bool]] = {
                "etcd": lambda: self._etcd_is_ready(is_lost),
                "kube-apiserver": lambda: self.api.get("/readyz") == b"ok",
                "kube-controller-manager": lambda: answers(self._first, "kube-controller-manager"),
                "kube-scheduler": lambda: answers(self._first, "kube-scheduler"),
                "kubelet": lambda: is_ready(self.api, self._first, daemons["kubelet"]),
                "kube-proxy": lambda: answers(self._first, "kube-proxy"),
                node_ports.NAME: lambda: node_ports.knows(self.folder),
            }
            if is_lost:
                self._say_that_etcd_is_lost()
            for name, needed in (("etcd", ()), ("kube-apiserver", ("etcd",))):
                self._start(daemons[name])
                wait_for(daemons[name], waiting.pop(name), [daemons[one] for one in needed])
            wait_for(daemons["kube-apiserver"], self._keep_identity)
            self._addons.start(self._start, self._namespaces.enter())
            for name in (*waiting, VOLUME_PROVISIONER):
                self._start(daemons[name])
            trial = Trial(self.processes(), self.api.ask, self.api.last_lines)
            self._apply_manifests(trial)
            for name, has_come in waiting.items():
                wait_for(daemons[name], has_come)
            trial.finish(READY_SECONDS)
            self._addons.finish()

    def start_workers(self) -> None:
        """Start what does not run of the nodes beside the first; remove those that are too many.

        Raises:
            LocalError: as for `start`.
        """
        self.workers.start(self.processes())

    def start_worker(self, name: str) -> None:
        """Start what does not run of one node beside the first.

        Raises:
            LocalError: as for `start`; or there is no such node.
        """
        self.workers.start_one(self.workers.named(name), self.processes())

    def stop(self) -> None:
        """End every process and container, undo what was changed in the machine; keep the data."""
        if former.is_there(self.folder):
            former.stop(self.folder, GRACE_SECONDS)
        workers = self.workers.made()
        for worker in workers:
            worker.stop_agents()
        for process in reversed(self.processes()):
            # containerd serves the others while they end; the namespaces go with their last one.
            if process.name not in ("containerd", NAME):
                process.stop()
        group = ControlGroup(self.home.name)
        group.end_processes(GRACE_SECONDS)
        for worker in workers:
            worker.stop()
        Daemon("containerd", (), self.folder).stop()
        self._namespaces.end()
        for pid in started_in(self.folder):
            end_process(pid, 0)
        self._network.disconnect()
        group.remove()
        if not group.has_neighbours():
            inotify.Limits().restore()
        for url in (ETCD, ETCD_PEER):
            (self.folder / url.removeprefix("unix://")).unlink(missing_ok=True)

    def node_port_problems(self) -> list[str]:
        """What is to be told of Services whose ports are not open on this machine."""
        return node_ports.problems(self.folder)

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """Standard output of `kubectl WORDS` as administrator.

        Raises:
            LocalError: it failed; the message has its standard error.
        """
        return self.api.kubectl(*words, given=given)

    def ctr(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run containerd's client on the first node's images and containers."""
        return containerd.ctr(self._namespaces.enter(), *words)

    @property
    def _namespaces(self) -> Namespaces:
        return Namespaces(self.folder, self.home.root, KERNEL_SETTINGS)

    @property
    def _network(self) -> NodeNetwork:
        return NodeNetwork(self.home.name, self.ranges)

    @property
    def _first(self) -> Node:
        return Node(1, self.ranges)

    def _daemons(self) -> dict[str, Daemon]:
        return configuration.daemons(self.folder, self.ranges, self.programs.command)

    def _start(self, daemon: Daemon) -> bool:
        """Start a process where it belongs; true when it was started now."""
        if daemon.name in ON_THE_MACHINE:
            return daemon.start()
        return daemon.start([*self._namespaces.enter(), *daemon.argv])

    def _end_strays(self) -> None:
        """End processes that no file tells of, and that would be in the way of new ones.

        `make up` was killed before it wrote the file, or the folder was removed meanwhile.
        """
        known = {process.pid() for process in self.processes()}
        known |= {process.pid() for one in self.workers.made() for process in one.processes()}
        strays = set(started_in(self.folder, alone=True)) - known
        if strays and self._namespaces.member() is None:
            with step("stop what an earlier start left behind"):
                self.stop()
        for pid in strays:
            end_process(pid, 0)

    def _connect(self, dns_port: int | None) -> None:
        node, enter = self._namespaces.member(), self._namespaces.enter()
        assert node is not None
        self._network.connect(enter, node, dns_port)

    def _check_containers(self) -> None:
        """Raise if containerd runs but can't read its files: it starts without what needs them."""
        if self.ctr("images", "list", "--quiet").returncode == 0:
            return
        data = self.folder / "containerd"
        raise LocalError(
            f"containerd can't read its files in {data}, as after a power cut in the middle of a "
            "write.",
            "They are images and containers, no data, and are made again by "
            f"`make stop && rm -r {shlex.quote(str(data))} && make up`.",
        )

    def _say_that_etcd_is_lost(self) -> None:
        say(
            f"what etcd knew is gone from {self.folder / memory.ETCD_FOLDER}: the cluster is made "
            f"anew as the same one. Its volumes are in {configuration.volumes(self.folder)} and "
            "stay; `make up` puts the stack back on them"
        )
        self.home.lost_cluster.touch()

    def _etcd_is_ready(self, is_lost: bool) -> bool:
        """Whether etcd answers, and knows which cluster it is of if it had lost that."""
        listening = ETCD.removeprefix("unix://")
        if not is_lost:
            return memory.listens(self.folder, listening)
        try:
            memory.restore(self.folder, listening)
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _keep_identity(self) -> bool:
        """Note down which cluster this is; false where the API server has not said it yet."""
        answer = self.api.get("/api/v1/namespaces/kube-system")
        if answer is None:
            return False
        memory.keep(self.folder, json.loads(answer)["metadata"]["uid"])
        return True

    def _keep_count(self) -> None:
        """Note down how many nodes are asked for, and say what that changes."""
        before, now = node_count.count(self.folder), node_count.asked()
        if now is not None and now != before:
            if memory.known(self.folder) is not None:  # the first `make up` changes nothing
                say(f"the cluster is to have {now} nodes, and had {before}")
            node_count.keep(self.folder, now)

    def _node_ports(self) -> Daemon:
        program, ranges = self.programs.build(NODE_PORTS), self.ranges
        daemon = node_ports.daemon(self.folder, program, str(ranges.node), ranges.balancers)
        if daemon.pid() is None or daemon.has_changed():
            node_ports.forget(self.folder)
        return daemon

    def _apply_manifests(self, trial: Trial) -> None:
        storage_class = (MANIFESTS / "storage-class.yaml").read_text()
        storage_class = storage_class.replace("${NAME}", STORAGE_CLASS)
        storage_class = storage_class.replace("${PROVISIONER}", PROVISIONER)
        roles = (MANIFESTS / "node-ports.yaml").read_text()
        tried = trial.manifest(self.images.platform)
        self.api.apply(self._coredns(), storage_class, roles, tried)
        self._remove_former_volumes()

    def _coredns(self) -> str:
        """The manifest of CoreDNS, which asks the name servers that the node has now."""
        servers = hashlib.sha256((self.folder / resolver.FILE).read_bytes()).hexdigest()[:12]
        text = (MANIFESTS / "coredns.yaml").read_text()
        for name, value in (
            ("IMAGE", self.images.platform),
            ("IP", self.ranges.dns_service),
            ("SERVERS", f'"{servers}"'),
        ):
            text = text.replace(f"${{{name}}}", str(value))
        return text

    def _remove_former_volumes(self) -> None:
        """Remove the free ones of the eight volumes that a cluster was once given at its start.

        One that a claim has keeps its data, and goes with the claim.
        """
        if self.api.get(f"/apis/storage.k8s.io/v1/storageclasses/{FORMER_STORAGE_CLASS}") is None:
            return
        answer = json.loads(self.kubectl("get", "persistentvolumes", "--output=json"))
        free = [
            volume["metadata"]["name"]
            for volume in answer["items"]
            if volume["spec"].get("storageClassName") == FORMER_STORAGE_CLASS
            and "claimRef" not in volume["spec"]
        ]
        former = [f"storageclass/{FORMER_STORAGE_CLASS}", *(f"pv/{name}" for name in free)]
        self.kubectl("delete", "--ignore-not-found", "--wait=false", *former)
        for name in free:
            shutil.rmtree(configuration.volumes(self.folder) / name, ignore_errors=True)
