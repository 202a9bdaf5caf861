"""A single-node Kubernetes on this machine: started, asked, stopped."""

import json
import shutil
import socket
import ssl
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from ..build.images import Images
from ..build.programs import NODE_PORTS, Programs
from ..console import LocalError, step
from ..home import Home
from ..machine import network
from ..machine.cgroups import ControlGroup
from ..machine.processes import Daemon, tail
from . import configuration, containerd, node_ports
from .configuration import (
    API_PORT,
    DNS_SERVICE_IP,
    ETCD,
    ETCD_PEER,
    KUBELET_HEALTH_PORT,
    NODE_IP,
    NODE_NAME,
    POD_CIDR,
    PORTS,
    PROCESSES,
    SERVICE_CIDR,
    VOLUME_PROVISIONER,
)
from .pki import Authority
from .provisioner import PROVISIONER, STORAGE_CLASS
from .trial import Trial

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
        """Those that are nobody's but the cluster's: the node's, and ranges of it."""
        return (NODE_IP, POD_CIDR, SERVICE_CIDR)

    @cached_property
    def images(self) -> Images:
        """The images that pods are made of."""
        return Images(self.home)

    @cached_property
    def programs(self) -> Programs:
        """The programs that its processes run."""
        return Programs(self.home)

    def programs_folder(self) -> Path:
        """A folder with `kubectl`, for PATH."""
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

    def processes(self) -> list[Daemon]:
        """The cluster's processes in the order in which they start, to look at and to stop."""
        return [Daemon(name, (), self.folder) for name in PROCESSES]

    def check_ports(self) -> None:
        """Refuse to start beside a program that has a port of ours.

        Raises:
            LocalError: it names the port, and who needs it.
        """
        for process in self.processes():
            if process.name in PORTS and process.pid() is None:
                _check_free(process.name, PORTS[process.name])

    def start_runtime(self) -> None:
        """Start containerd unless it runs, and wait until it answers.

        Raises:
            LocalError: the machine lacks what a node needs, or containerd did not come up.
        """
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not self.is_running():
            network.remember(self.folder)
        network.prepare(self.folder, NODE_IP, POD_CIDR)
        ControlGroup().prepare()
        configuration.write(self.folder, self.images.platform)
        daemon = configuration.daemons(self.folder, self.programs.command)["containerd"]
        if daemon.start():
            with step("start containerd"):
                _await(daemon, lambda: self.ctr("version").returncode == 0)

    def start(self) -> None:
        """Start every process that does not run, and wait until a pod has tried the node.

        Raises:
            LocalError: a process did not come up, or pods can't do what they need to; the message
                has the last lines of the log that tells of it.
        """
        daemons = configuration.daemons(self.folder, self.programs.command)
        daemons[node_ports.NAME] = self._node_ports()
        with step("start Kubernetes"):
            waiting: dict[str, Callable[[], bool]] = {
                "etcd": lambda: (self.folder / ETCD.removeprefix("unix://")).is_socket(),
                "kube-apiserver": lambda: self.get("/readyz") == b"ok",
                "kube-controller-manager": lambda: _answers(PORTS["kube-controller-manager"]),
                "kube-scheduler": lambda: _answers(PORTS["kube-scheduler"]),
                "kubelet": self._node_is_ready,
                "kube-proxy": lambda: _answers(PORTS["kube-proxy"]),
                node_ports.NAME: lambda: node_ports.knows(self.folder),
            }
            for name in ("etcd", "kube-apiserver"):
                daemons[name].start()
                _await(daemons[name], waiting.pop(name))
            for name in (*waiting, VOLUME_PROVISIONER):
                daemons[name].start()
            trial = Trial(list(daemons.values()), self._ask, self._last_lines)
            self._apply_manifests(trial)
            for name, is_ready in waiting.items():
                _await(daemons[name], is_ready)
            trial.finish(READY_SECONDS)

    def stop(self) -> None:
        """End every process and container, undo what was changed in the machine; keep the data."""
        runtime, *others = self.processes()
        for process in reversed(others):
            process.stop()
        ControlGroup().end_processes(GRACE_SECONDS)
        containerd.end_shims(self.folder)
        runtime.stop()
        containerd.unmount(self.folder)
        network.restore(self.folder, NODE_IP, POD_CIDR)
        ControlGroup().remove()
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
        """Run containerd's client in the namespace of the node's images and containers."""
        return containerd.ctr(self.folder, *words)

    def get(self, path: str) -> bytes | None:
        """Body of a GET to the API server as administrator; None when there is no such answer."""
        return self._ask("GET", path)

    def _ask(self, method: str, path: str) -> bytes | None:
        context = ssl.create_default_context(cafile=str(self._authority.certificate))
        context.load_cert_chain(*self._authority.issue("admin", "admin", "system:masters"))
        try:
            url = f"https://{NODE_IP}:{API_PORT}{path}"
            request = urllib.request.Request(url, method=method)
            return bytes(urllib.request.urlopen(request, context=context, timeout=2).read())
        except (urllib.error.URLError, OSError):
            return None

    @property
    def _authority(self) -> Authority:
        return Authority(self.folder / "pki")

    def _node_is_ready(self) -> bool:
        """Whether the kubelet that runs now is ready; what an earlier one said stays in etcd."""
        answer = self.get(f"/api/v1/nodes/{NODE_NAME}")
        if answer is None or not _answers(KUBELET_HEALTH_PORT):
            return False
        return any(
            condition["type"] == "Ready"
            and condition["status"] == "True"
            and datetime.fromisoformat(condition["lastHeartbeatTime"]).timestamp()
            >= int(Daemon("kubelet", (), self.folder).started())
            for condition in json.loads(answer)["status"].get("conditions", [])
        )

    def _node_ports(self) -> Daemon:
        daemon = node_ports.daemon(self.folder, self.programs.build(NODE_PORTS), NODE_IP)
        if daemon.pid() is None:
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
        coredns = (MANIFESTS / "coredns.yaml").read_text()
        coredns = coredns.replace("${IMAGE}", self.images.platform).replace("${IP}", DNS_SERVICE_IP)
        storage_class = (MANIFESTS / "storage-class.yaml").read_text()
        storage_class = storage_class.replace("${NAME}", STORAGE_CLASS)
        storage_class = storage_class.replace("${PROVISIONER}", PROVISIONER)
        roles = (MANIFESTS / "node-ports.yaml").read_text()
        text = "---\n".join([coredns, storage_class, roles, trial.manifest(self.images.platform)])
        # Forced: the files are the truth, also over what a person changed in the cluster.
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=text)
        self._remove_former_volumes()

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


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _check_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise LocalError(
                f"port {port}, which {name} needs, is in use.",
                "End the program that listens there (`ss -ltnp` names it), "
                "or set KUBECONFIG to use the cluster you have.",
            ) from error


def _await(daemon: Daemon, is_ready: Callable[[], bool]) -> None:
    """Wait until a process is ready.

    Raises:
        LocalError: it ended, or was not ready in READY_SECONDS.
    """
    until = time.monotonic() + READY_SECONDS
    while not is_ready():
        if daemon.pid() is None or time.monotonic() > until:
            state = "ended" if daemon.pid() is None else f"is not ready after {READY_SECONDS} s"
            raise LocalError(
                f"{daemon.name} {state}.",
                f"Its log is {daemon.log} and ends with:\n{tail(daemon.log)}",
            )
        time.sleep(0.1)
