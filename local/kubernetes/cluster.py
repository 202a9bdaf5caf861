"""A single-node Kubernetes on this machine: started, asked, stopped."""

import hashlib
import http.client
import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from .. import disk
from ..build.images import Images
from ..build.programs import (
    COREDNS,
    KUBERNETES,
    NODE_PORTS,
    PAUSE,
    REACH,
    Programs,
    programs_of,
)
from ..console import LocalError, say, step
from ..home import Home
from ..machine import inotify, resolver
from ..machine.cgroups import ControlGroup
from ..machine.namespaces import NAME, Namespaces
from ..machine.network import NodeNetwork
from ..machine.processes import Daemon, end_process, started_in, tail
from ..machine.ranges import Ranges
from . import configuration, containerd, former, memory, node_ports, proxy_relay
from .configuration import (
    API_PORT,
    ETCD,
    ETCD_PEER,
    KERNEL_SETTINGS,
    NODE_NAME,
    ON_THE_MACHINE,
    PORTS,
    PROCESSES,
    RESOLVER,
    VOLUME_PROVISIONER,
)
from .pki import Authority
from .provisioner import PROVISIONER, STORAGE_CLASS
from .trial import Trial

PROGRAMS = (PAUSE, REACH, NODE_PORTS, COREDNS, KUBERNETES)
"""What a node runs, in the order in which it is built."""
FORMER_STORAGE_CLASS = "local"
READY_SECONDS = 120
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
        return self.folder / "pki" / "admin.kubeconfig"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those that are nobody's but the cluster's, by themselves and as ranges."""
        ranges = self.ranges
        alone = (str(ranges.node), str(ranges.machine))
        return (*alone, str(ranges.nodes), str(ranges.pods), str(ranges.services))

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
        return any(process.pid() for process in self.processes())

    def is_left_behind(self) -> bool:
        """Whether processes run though their folder was removed."""
        return not self.folder.exists() and bool(started_in(self.folder))

    def processes(self) -> list[Daemon]:
        """The cluster's processes in the order in which they start, to look at and to stop."""
        listed = [Daemon(name, (), self.folder) for name in PROCESSES]
        # Few machines need these.
        return [one for one in listed if one.name not in (RESOLVER, proxy_relay.NAME) or one.pid()]

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
                self._await(daemons["containerd"], lambda: self.ctr("version").returncode == 0)
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
                "kube-apiserver": lambda: self.get("/readyz") == b"ok",
                "kube-controller-manager": lambda: self._answers("kube-controller-manager"),
                "kube-scheduler": lambda: self._answers("kube-scheduler"),
                "kubelet": self._node_is_ready,
                "kube-proxy": lambda: self._answers("kube-proxy"),
                node_ports.NAME: lambda: node_ports.knows(self.folder),
            }
            if is_lost:
                self._say_that_etcd_is_lost()
            for name, needed in (("etcd", ()), ("kube-apiserver", ("etcd",))):
                self._start(daemons[name])
                self._await(daemons[name], waiting.pop(name), [daemons[one] for one in needed])
            self._keep_identity()
            for name in (*waiting, VOLUME_PROVISIONER):
                self._start(daemons[name])
            trial = Trial(self.processes(), self._ask, self._last_lines)
            self._apply_manifests(trial)
            for name, is_ready in waiting.items():
                self._await(daemons[name], is_ready)
            trial.finish(READY_SECONDS)

    def stop(self) -> None:
        """End every process and container, undo what was changed in the machine; keep the data."""
        if former.is_there(self.folder):
            former.stop(self.folder, GRACE_SECONDS)
        for process in reversed(self.processes()):
            # containerd serves the others while they end; the namespaces go with their last one.
            if process.name not in ("containerd", NAME):
                process.stop()
        group = ControlGroup(self.home.name)
        group.end_processes(GRACE_SECONDS)
        Daemon("containerd", (), self.folder).stop()
        self._namespaces.end()
        for pid in started_in(self.folder):
            end_process(pid, 0)
        NodeNetwork(self.home.name, self.ranges).disconnect()
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
        done = subprocess.run(
            [*self.programs.command("kubectl"), f"--kubeconfig={self.kubeconfig}", *words],
            input=given,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise LocalError(
                f"`kubectl {' '.join(words)}` failed: {done.stderr.strip()}",
                f"See the logs in {self.folder / 'logs'}.",
            )
        return done.stdout

    def ctr(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run containerd's client on the node's images and containers."""
        client = ("ctr", "--address", containerd.SOCKET, "--namespace", "k8s.io")
        enter = self._namespaces.enter()
        return subprocess.run([*enter, *client, *words], capture_output=True, text=True)

    def get(self, path: str) -> bytes | None:
        """Body of a GET to the API server as administrator; None when there is no such answer."""
        return self._ask("GET", path)

    def _ask(self, method: str, path: str) -> bytes | None:
        context = ssl.create_default_context(cafile=str(self._authority.certificate))
        context.load_cert_chain(*self._authority.issue("admin", "admin", "system:masters"))
        try:
            url = f"https://{self.ranges.node}:{API_PORT}{path}"
            request = urllib.request.Request(url, method=method)
            return bytes(urllib.request.urlopen(request, context=context, timeout=2).read())
        except (urllib.error.URLError, OSError):
            return None

    @property
    def _authority(self) -> Authority:
        return Authority(self.folder / "pki")

    @property
    def _namespaces(self) -> Namespaces:
        return Namespaces(self.folder, self.home.root, KERNEL_SETTINGS)

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
        strays = set(started_in(self.folder, alone=True)) - known
        if strays and self._namespaces.member() is None:
            with step("stop what an earlier start left behind"):
                self.stop()
        for pid in strays:
            end_process(pid, 0)

    def _connect(self, dns_port: int | None) -> None:
        node, enter = self._namespaces.member(), self._namespaces.enter()
        assert node is not None
        NodeNetwork(self.home.name, self.ranges).connect(enter, node, dns_port)

    def _answers(self, name: str) -> bool:
        """Whether a process listens on its port."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((str(self.ranges.node), PORTS[name])) == 0

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

    def _keep_identity(self) -> None:
        answer = self.get("/api/v1/namespaces/kube-system")
        if answer is not None:
            memory.keep(self.folder, json.loads(answer)["metadata"]["uid"])

    def _await(
        self, daemon: Daemon, is_ready: Callable[[], bool], needed: Sequence[Daemon] = ()
    ) -> None:
        """Wait until a process is ready.

        Args:
            needed: processes without which it never is.

        Raises:
            LocalError: one ended, or it was not ready in READY_SECONDS.
        """
        until = time.monotonic() + READY_SECONDS
        while not is_ready():
            for one in (*needed, daemon):
                if one.pid() is None:
                    raise self._failure(one)
            if time.monotonic() > until:
                raise self._failure(daemon)
            time.sleep(0.1)

    def _failure(self, daemon: Daemon) -> LocalError:
        """Why a process is not ready, in the words of who can put it right."""
        said, ended = daemon.log.read_text(errors="replace"), daemon.pid() is None
        data = self.folder / daemon.name
        if ended and (full := disk.full(said, data if data.exists() else self.folder)):
            return full
        if ended and daemon.name == "etcd" and (damaged := memory.damage(self.folder, said)):
            return damaged
        state = "ended" if ended else f"is not ready after {READY_SECONDS} s"
        return LocalError(
            f"{daemon.name} {state}.", f"Its log is {daemon.log} and ends with:\n{tail(daemon.log)}"
        )

    def _node_is_ready(self) -> bool:
        """Whether the kubelet that runs now is ready; what an earlier one said stays in etcd."""
        answer = self.get(f"/api/v1/nodes/{NODE_NAME}")
        if answer is None or not self._answers("kubelet"):
            return False
        return any(
            condition["type"] == "Ready"
            and condition["status"] == "True"
            and datetime.fromisoformat(condition["lastHeartbeatTime"]).timestamp()
            >= int(Daemon("kubelet", (), self.folder).started())
            for condition in json.loads(answer)["status"].get("conditions", [])
        )

    def _node_ports(self) -> Daemon:
        program, address = self.programs.build(NODE_PORTS), str(self.ranges.node)
        daemon = node_ports.daemon(self.folder, program, address)
        if daemon.pid() is None or daemon.has_changed():
            node_ports.forget(self.folder)
        return daemon

    def _last_lines(self, pod: str) -> str:
        """The end of a pod's log, or of a Deployment's, in kube-system; empty if there is none."""
        try:
            said = self.kubectl("logs", "--namespace=kube-system", "--tail=10", pod)
        except LocalError:
            return ""
        return f"Its log ends with:\n{textwrap.indent(said, '    ')}" if said else ""

    def _apply_manifests(self, trial: Trial) -> None:
        storage_class = (MANIFESTS / "storage-class.yaml").read_text()
        storage_class = storage_class.replace("${NAME}", STORAGE_CLASS)
        storage_class = storage_class.replace("${PROVISIONER}", PROVISIONER)
        roles = (MANIFESTS / "node-ports.yaml").read_text()
        text = "---\n".join(
            [self._coredns(), storage_class, roles, trial.manifest(self.images.platform)]
        )
        # Forced: the files are the truth, also over what a person changed in the cluster.
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=text)
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
        if self.get(f"/apis/storage.k8s.io/v1/storageclasses/{FORMER_STORAGE_CLASS}") is None:
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
