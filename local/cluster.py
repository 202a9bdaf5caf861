"""A single-node Kubernetes on this machine: how its processes are called, when it is ready."""

import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from . import node
from .console import LocalError, step
from .home import Home
from .pki import Authority, write_private
from .processes import Daemon, tail
from .programs import COREDNS, KUBERNETES, PAUSE, Programs, digest

NODE_NAME = "dlstack"
# An address of our own on the loopback interface: the same on every machine and network, reachable
# from pods and from this machine, and from nowhere else.
NODE_IP = "10.77.0.1"
POD_CIDR = "10.78.0.0/16"
SERVICE_CIDR = "10.79.0.0/16"
API_SERVICE_IP = "10.79.0.1"
DNS_SERVICE_IP = "10.79.0.10"
API_PORT = 6443
# Listening ports of the control plane and the node agent: their defaults in Kubernetes.
PORTS = {
    "kube-apiserver": API_PORT,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
    "kubelet": 10250,
    "kube-proxy": 10256,
}
# Sockets in the cluster's folder; etcd wants the form of a host and a port also here.
ETCD = "unix://etcd:0"
ETCD_PEER = "unix://etcd-peer:0"
VOLUMES = 8
KUBELET_HEALTH_PORT = 10248
PROCESSES = ("containerd", "etcd", *PORTS)
READY_SECONDS = 120
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
    def containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    @cached_property
    def platform_image(self) -> str:
        """Name of the image that holds CoreDNS and the program that pods' sandboxes run."""
        key = digest([self._coredns, self._pause])
        return f"localhost/dlstack/platform:{key}"

    @cached_property
    def kubernetes(self) -> Path:
        return Programs(self.home).build(KUBERNETES)

    @cached_property
    def _coredns(self) -> Path:
        return Programs(self.home).build(COREDNS)

    @cached_property
    def _pause(self) -> Path:
        return Programs(self.home).build(PAUSE)

    def programs_folder(self) -> Path:
        """A folder with `kubectl`, for PATH."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        link = folder / "kubectl"
        if not link.is_symlink() or link.readlink() != self.kubernetes:
            link.unlink(missing_ok=True)
            link.symlink_to(self.kubernetes)
        return folder

    @property
    def platform_programs(self) -> tuple[Path, Path]:
        """The programs in `platform_image`."""
        return self._coredns, self._pause

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
        node.prepare(self.folder, NODE_IP, POD_CIDR)
        self._write_configuration()
        daemon = self._daemons()["containerd"]
        if daemon.start():
            with step("start containerd"):
                _await(daemon, lambda: self.ctr("version").returncode == 0)

    def start(self) -> None:
        """Start every process that does not run, and wait until the node is Ready and DNS answers.

        Raises:
            LocalError: a process did not come up; the message ends with the last lines of its log.
        """
        daemons = self._daemons()
        with step("start Kubernetes"):
            checks: Mapping[str, Callable[[], bool]] = {
                "etcd": lambda: (self.folder / ETCD.removeprefix("unix://")).is_socket(),
                "kube-apiserver": lambda: self.get("/readyz") == b"ok",
                "kube-controller-manager": lambda: _answers(PORTS["kube-controller-manager"]),
                "kube-scheduler": lambda: _answers(PORTS["kube-scheduler"]),
                "kubelet": self._node_is_ready,
                "kube-proxy": lambda: _answers(PORTS["kube-proxy"]),
            }
            waiting = dict(checks)
            for name in ("etcd", "kube-apiserver"):
                daemons[name].start()
                _await(daemons[name], waiting.pop(name))
            for name in waiting:
                daemons[name].start()
            self._apply_manifests()
            for name, is_ready in waiting.items():
                _await(daemons[name], is_ready)

    def stop(self) -> None:
        """End every process and container, undo what was changed in the machine; keep the data."""
        containerd, *others = self.processes()
        for process in reversed(others):
            process.stop()
        node.end_containers(self.containerd_socket)
        containerd.stop()
        node.restore(self.folder, NODE_IP)
        for url in (ETCD, ETCD_PEER):
            (self.folder / url.removeprefix("unix://")).unlink(missing_ok=True)

    def recycle_volumes(self) -> None:
        """Make the volumes whose claim is gone free and empty again."""
        answer = self.kubectl("get", "persistentvolumes", "-o", "json")
        for volume in json.loads(answer)["items"]:
            if volume["status"].get("phase") in ("Released", "Failed"):
                name = volume["metadata"]["name"]
                self.kubectl("delete", "persistentvolume", name)
                shutil.rmtree(self.folder / "volumes" / name, ignore_errors=True)
        self._make_volumes()

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """Standard output of `kubectl WORDS` as administrator.

        Raises:
            LocalError: it failed; the message has its standard error.
        """
        done = subprocess.run(
            [self.kubernetes, "kubectl", f"--kubeconfig={self.kubeconfig}", *words],
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
        return subprocess.run(
            ["ctr", "--address", str(self.containerd_socket), "--namespace", "k8s.io", *words],
            capture_output=True,
            text=True,
        )

    def get(self, path: str) -> bytes | None:
        """Body of a GET to the API server as administrator; None when there is no such answer."""
        context = ssl.create_default_context(cafile=str(self._authority.certificate))
        context.load_cert_chain(*self._authority.issue("admin", "admin", "system:masters"))
        try:
            url = f"https://{NODE_IP}:{API_PORT}{path}"
            return bytes(urllib.request.urlopen(url, context=context, timeout=2).read())
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
            >= int(self._daemons()["kubelet"].started())
            for condition in json.loads(answer)["status"].get("conditions", [])
        )

    def _daemons(self) -> dict[str, Daemon]:
        """The cluster's processes with the words that they are called with."""
        folder, pki = self.folder, self.folder / "pki"

        def kubernetes(name: str, /, **flags: object) -> Daemon:
            words = [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()]
            return Daemon(name, [self.kubernetes, name, *words], folder)

        daemons = [
            Daemon("containerd", ["containerd", "--config", folder / "containerd.toml"], folder),
            # Sockets instead of ports: only root of this machine gets at the store, without a
            # certificate of its own.
            kubernetes(
                "etcd",
                name=NODE_NAME,
                data_dir=folder / "etcd",
                listen_client_urls=ETCD,
                advertise_client_urls=ETCD,
                listen_peer_urls=ETCD_PEER,
                initial_advertise_peer_urls=ETCD_PEER,
                initial_cluster=f"{NODE_NAME}={ETCD_PEER}",
                log_level="warn",
            ),
            kubernetes(
                "kube-apiserver",
                etcd_servers=ETCD,
                bind_address=NODE_IP,
                advertise_address=NODE_IP,
                secure_port=API_PORT,
                service_cluster_ip_range=SERVICE_CIDR,
                service_account_issuer="https://kubernetes.default.svc.cluster.local",
                service_account_key_file=pki / "service-account.key",
                service_account_signing_key_file=pki / "service-account.key",
                client_ca_file=pki / "ca.crt",
                tls_cert_file=pki / "kube-apiserver.crt",
                tls_private_key_file=pki / "kube-apiserver.key",
                kubelet_certificate_authority=pki / "ca.crt",
                kubelet_client_certificate=pki / "kubelet-client.crt",
                kubelet_client_key=pki / "kubelet-client.key",
                kubelet_preferred_address_types="InternalIP",
                authorization_mode="Node,RBAC",
                enable_admission_plugins="NodeRestriction",
                # One request may wait for another in a rush of start-up; there is nobody to be fair
                # to.
                enable_priority_and_fairness="false",
                # The default of 60 s keeps a stopped API server waiting for watches to end.
                shutdown_delay_duration="0s",
            ),
            kubernetes(
                "kube-controller-manager",
                kubeconfig=pki / "kube-controller-manager.kubeconfig",
                bind_address="127.0.0.1",
                cluster_cidr=POD_CIDR,
                root_ca_file=pki / "ca.crt",
                service_account_private_key_file=pki / "service-account.key",
                use_service_account_credentials="true",
                leader_elect="false",
            ),
            kubernetes(
                "kube-scheduler",
                kubeconfig=pki / "kube-scheduler.kubeconfig",
                bind_address="127.0.0.1",
                leader_elect="false",
            ),
            kubernetes(
                "kubelet",
                config=folder / "kubelet.json",
                kubeconfig=pki / "kubelet.kubeconfig",
                root_dir=folder / "kubelet",
                cert_dir=folder / "kubelet" / "pki",
                node_ip=NODE_IP,
                hostname_override=NODE_NAME,
            ),
            kubernetes("kube-proxy", config=folder / "kube-proxy.json"),
        ]
        return {daemon.name: daemon for daemon in daemons}

    def _write_configuration(self) -> None:
        folder, authority = self.folder, self._authority
        authority.create()
        authority.issue(
            "kube-apiserver",
            "kube-apiserver",
            addresses=(
                *(NODE_IP, API_SERVICE_IP, "127.0.0.1", "kubernetes", "kubernetes.default"),
                *("kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
            ),
        )
        authority.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
        authority.issue("kubelet-server", f"system:node:{NODE_NAME}", addresses=(NODE_IP,))
        for file, user, organisation in (
            ("admin", "admin", "system:masters"),
            ("kube-controller-manager", "system:kube-controller-manager", None),
            ("kube-scheduler", "system:kube-scheduler", None),
            ("kube-proxy", "system:kube-proxy", None),
            ("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
        ):
            authority.kubeconfig(file, user, organisation, f"https://{NODE_IP}:{API_PORT}")
        write_private(folder / "containerd.toml", self._containerd_configuration().encode())
        configurations: dict[str, object] = {
            "kubelet.json": self._kubelet_configuration(),
            "kube-proxy.json": {
                "kind": "KubeProxyConfiguration",
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "mode": "iptables",
                "clusterCIDR": POD_CIDR,
                "hostnameOverride": NODE_NAME,
                "healthzBindAddress": "127.0.0.1:10256",
                "metricsBindAddress": "127.0.0.1:10249",
                "clientConnection": {"kubeconfig": str(folder / "pki" / "kube-proxy.kubeconfig")},
                # The kernel's limits stay as the machine has them.
                "conntrack": {"maxPerCore": 0, "min": 0},
                "iptables": {"localhostNodePorts": True, "minSyncPeriod": "100ms"},
            },
            "cni/10-dlstack.conflist": {
                "cniVersion": "1.0.0",
                "name": "dlstack",
                "plugins": [
                    {
                        "type": "bridge",
                        "bridge": node.BRIDGE,
                        "isGateway": True,
                        "ipMasq": True,
                        "hairpinMode": True,
                        "ipam": {
                            "type": "host-local",
                            "ranges": [[{"subnet": POD_CIDR}]],
                            "routes": [{"dst": "0.0.0.0/0"}],
                            "dataDir": str(folder / "cni-addresses"),
                        },
                    },
                ],
            },
        }
        for name, content in configurations.items():
            write_private(folder / name, json.dumps(content, indent=1).encode())

    def _kubelet_configuration(self) -> dict[str, object]:
        pki = self.folder / "pki"
        return {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "address": NODE_IP,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{node.CGROUP}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self.containerd_socket}",
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS_SERVICE_IP],
            "resolvConf": "/etc/resolv.conf",
            # There is no registry to fetch a removed image from again.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {
                "memory.available": "200Mi",
                "nodefs.available": "1Gi",
                "imagefs.available": "1Gi",
            },
            # A pod's end and start are to be seen at once, also in a rush of pods.
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "registryPullQPS": 0,
            "serializeImagePulls": False,
        }

    def _containerd_configuration(self) -> str:
        folder = self.folder
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        # Without CAP_SYS_RESOURCE the score can't be lowered, and runc fails with
        # "can't get final child's PID from pipe" when it tries.
        restricted = str(not node.may_raise_limits()).lower()
        return f"""version = 2
root = "{folder / "containerd"}"
state = "{folder / "containerd-state"}"
[grpc]
address = "{self.containerd_socket}"
[{cri}]
sandbox_image = "{self.platform_image}"
restrict_oom_score_adj = {restricted}
[{cri}.cni]
bin_dir = "{node.cni_plugins()}"
conf_dir = "{folder / "cni"}"
[{cri}.containerd]
default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""

    def _apply_manifests(self) -> None:
        text = (MANIFESTS / "coredns.yaml").read_text()
        text = text.replace("${IMAGE}", self.platform_image).replace("${IP}", DNS_SERVICE_IP)
        # Server-side, so that what a person changed in them is not fought over at every start.
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=text)
        self._make_volumes()

    def _make_volumes(self) -> None:
        template = (MANIFESTS / "volume.yaml").read_text()
        documents = [(MANIFESTS / "storage-class.yaml").read_text()]
        for number in range(1, VOLUMES + 1):
            path = self.folder / "volumes" / f"volume-{number}"
            path.mkdir(parents=True, exist_ok=True)
            documents.append(
                template.replace("${NAME}", path.name)
                .replace("${PATH}", str(path))
                .replace("${NODE}", NODE_NAME)
            )
        self.kubectl("apply", "--server-side", "-f", "-", given="---\n".join(documents))


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
