"""What the cluster's processes are called with, and the files that they read."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..build import programs
from ..home import write_private
from ..machine import name_relay, namespaces, resolver
from ..machine.namespaces import INSIDE
from ..machine.processes import Daemon
from ..machine.ranges import Ranges
from ..ports import node_ports as ports_of_services
from . import containerd, node_ports, provisioner, proxy_relay
from .nodes import FIRST, Node
from .pki import Authority

API_PORT = 6443
# Listening ports of the control plane and the node agent: their defaults in Kubernetes.
PORTS = {
    "kube-apiserver": API_PORT,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
    "kubelet": 10250,
    "kube-proxy": 10256,
}
KUBELET = Path("/var/lib/kubelet")
"""The kubelet's folder as it sees it."""
# What the kubelet would otherwise set in the whole machine, where more than the node lives.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# Sockets in the cluster's folder; etcd wants the form of a host and a port also here.
ETCD = "unix://etcd:0"
ETCD_PEER = "unix://etcd-peer:0"
VOLUME_PROVISIONER = "volume-provisioner"
RESOLVER = "resolver"
NETWORK_POLICIES = programs.NETWORK_POLICIES.name
METRICS_SERVER = programs.METRICS_SERVER.name
ON_THE_MACHINE = (RESOLVER, proxy_relay.NAME, VOLUME_PROVISIONER, node_ports.NAME)
"""The processes outside the node's namespaces."""
PROCESSES = (
    *(namespaces.NAME, RESOLVER, proxy_relay.NAME, "containerd", "etcd"),
    *(*PORTS, VOLUME_PROVISIONER, node_ports.NAME),
    *(NETWORK_POLICIES, METRICS_SERVER),
)


def daemons(
    folder: Path, ranges: Ranges, command: Callable[[str], list[str | Path]]
) -> dict[str, Daemon]:
    """The cluster's processes by name, in the order in which they start.

    Args:
        folder: of the cluster.
        ranges: its addresses.
        command: the words that start a program of Kubernetes, CoreDNS or etcd.
    """
    pki = INSIDE / "pki"
    # The same for every checkout: its scripts need no packages.
    python = Path(sys.executable).resolve()
    of_node = node_daemons(folder, Node(1, ranges), pki, command)
    service_ports = ports_of_services()

    def kubernetes(name: str, /, **flags: object) -> Daemon:
        return Daemon(name, _called(command(name), **flags), folder)

    listed = [
        Daemon(
            RESOLVER,
            [python, folder / "name_relay.py", str(ranges.machine), str(resolver.PORT)],
            folder,
            reads=[folder / "name_relay.py"],
        ),
        of_node["containerd"],
        # Sockets instead of ports: only root of this machine gets at the store, without a
        # certificate of its own.
        kubernetes(
            "etcd",
            name=FIRST,
            data_dir=INSIDE / "etcd",
            listen_client_urls=ETCD,
            advertise_client_urls=ETCD,
            listen_peer_urls=ETCD_PEER,
            initial_advertise_peer_urls=ETCD_PEER,
            initial_cluster=f"{FIRST}={ETCD_PEER}",
            log_level="warn",
        ),
        kubernetes(
            "kube-apiserver",
            etcd_servers=ETCD,
            bind_address=ranges.node,
            advertise_address=ranges.node,
            secure_port=API_PORT,
            service_cluster_ip_range=ranges.services,
            service_node_port_range=f"{service_ports[0]}-{service_ports[-1]}",
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
            # For the APIs that other programs answer, such as the metrics API: who asks is told
            # to them under this name.
            proxy_client_cert_file=pki / "front-proxy-client.crt",
            proxy_client_key_file=pki / "front-proxy-client.key",
            requestheader_client_ca_file=pki / "ca.crt",
            requestheader_allowed_names="front-proxy-client",
            requestheader_username_headers="X-Remote-User",
            requestheader_group_headers="X-Remote-Group",
            requestheader_extra_headers_prefix="X-Remote-Extra-",
            # To their endpoints: as long as kube-proxy doesn't run, an address of a Service may
            # lead out of this machine, and such a connection would be used for good.
            enable_aggregator_routing="true",
            authorization_mode="Node,RBAC",
            enable_admission_plugins="NodeRestriction",
            # It makes requests wait for each other at start-up, to be fair among users: there is
            # only one.
            enable_priority_and_fairness="false",
        ),
        kubernetes(
            "kube-controller-manager",
            kubeconfig=pki / "kube-controller-manager.kubeconfig",
            bind_address=ranges.node,
            cluster_cidr=ranges.pods,
            root_ca_file=pki / "ca.crt",
            service_account_private_key_file=pki / "service-account.key",
            use_service_account_credentials="true",
            flex_volume_plugin_dir=KUBELET / "volume-plugins",
            leader_elect="false",
        ),
        kubernetes(
            "kube-scheduler",
            kubeconfig=pki / "kube-scheduler.kubeconfig",
            bind_address=ranges.node,
            leader_elect="false",
        ),
        of_node["kubelet"],
        of_node["kube-proxy"],
        Daemon(
            VOLUME_PROVISIONER,
            [
                *(python, folder / "provisioner.py"),
                *("--kubeconfig", folder / "pki" / "admin.kubeconfig"),
                *("--folder", volumes(folder)),
            ],
            folder,
            reads=[folder / "provisioner.py"],
        ),
    ]
    return {daemon.name: daemon for daemon in listed}


def node_daemons(
    folder: Path, node: Node, pki: Path, command: Callable[[str], list[str | Path]]
) -> dict[str, Daemon]:
    """The processes of one node by name, in the order in which they start.

    Args:
        folder: of the node; the first one's is the cluster's.
        node: whose they are.
        pki: the cluster's keys, as the node's processes see them.
        command: the words that start a program of Kubernetes.
    """
    listed = [
        Daemon(
            "containerd",
            ["containerd", "--config", INSIDE / "containerd.toml"],
            folder,
            # It alone talks to the world: to registries, for images that are not made here.
            proxy_relay.seen_from_pods(os.environ, node.ranges),
            reads=[folder / "containerd.toml"],
        ),
        Daemon(
            "kubelet",
            _called(
                command("kubelet"),
                config=INSIDE / "kubelet.json",
                kubeconfig=pki / f"{_file_of('kubelet', node)}.kubeconfig",
                root_dir=KUBELET,
                cert_dir=KUBELET / "pki",
                node_ip=node.address,
                hostname_override=node.name,
            ),
            folder,
            reads=[folder / "kubelet.json"],
        ),
        Daemon(
            "kube-proxy",
            _called(command("kube-proxy"), config=INSIDE / "kube-proxy.json"),
            folder,
            reads=[folder / "kube-proxy.json"],
        ),
    ]
    return {daemon.name: daemon for daemon in listed}


def _called(command: list[str | Path], **flags: object) -> list[str | Path]:
    return [*command, *(f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items())]


def _file_of(name: str, node: Node) -> str:
    """What the file of a node's process is called, in the folder of all keys."""
    return name if node.name == FIRST else f"{name}-{node.name}"


def volumes(folder: Path) -> Path:
    """Where the folders of the volumes are in the cluster's folder."""
    return folder / "volumes"


def write(folder: Path, ranges: Ranges, control_group: str, sandbox_image: str) -> None:
    """Write keys, certificates and configuration files into the cluster's folder.

    Args:
        folder: of the cluster.
        ranges: its addresses.
        control_group: name of the group that pods are in.
        sandbox_image: holds the program that keeps a pod's namespaces open.
    """
    authority = Authority(folder / "pki")
    authority.create()
    authority.issue(
        "kube-apiserver",
        "kube-apiserver",
        addresses=(
            *(str(ranges.node), str(ranges.api_service), "kubernetes", "kubernetes.default"),
            *("kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
        ),
    )
    authority.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    authority.issue("front-proxy-client", "front-proxy-client")
    server = server_url(ranges)
    # These are used on the machine, the others in the node's namespaces.
    authority.kubeconfig("admin", "admin", "system:masters", server)
    authority.kubeconfig(node_ports.NAME, node_ports.USER, None, server)
    for file, user, organisation in (
        ("kube-controller-manager", "system:kube-controller-manager", None),
        ("kube-scheduler", "system:kube-scheduler", None),
    ):
        authority.kubeconfig(file, user, organisation, server, seen_at=INSIDE / "pki")
    write_node(folder, Node(1, ranges), authority, INSIDE / "pki", control_group, sandbox_image)
    # Copies: the processes don't depend on what becomes of the checkout.
    for script in map(Path, (provisioner.__file__, name_relay.__file__)):
        write_private(folder / script.name, script.read_bytes())
    # Pods get at a volume's folder by a mount of it. Nobody else on this machine reads it.
    volumes(folder).mkdir(exist_ok=True)
    volumes(folder).chmod(0o700)


def write_node(
    folder: Path,
    node: Node,
    authority: Authority,
    pki: Path,
    control_group: str,
    sandbox_image: str,
) -> None:
    """Write what the processes of one node read.

    Args:
        folder: of the node; the first one's is the cluster's.
        node: whose processes they are.
        authority: of the cluster.
        pki: its folder, as the node's processes see it.
        control_group: name of the group that the node's pods are in.
        sandbox_image: holds the program that keeps a pod's namespaces open.
    """
    user = f"system:node:{node.name}"
    authority.issue(_file_of("kubelet-server", node), user, addresses=(str(node.address),))
    server = server_url(node.ranges)
    for file, name, organisation in (
        ("kube-proxy", "system:kube-proxy", None),
        ("kubelet", user, "system:nodes"),
    ):
        authority.kubeconfig(_file_of(file, node), name, organisation, server, seen_at=pki)
    write_private(
        folder / "containerd.toml", containerd.configuration(INSIDE, sandbox_image).encode()
    )
    for name, content in (
        ("kubelet.json", _kubelet(node, pki, control_group)),
        ("kube-proxy.json", _kube_proxy(node, pki)),
        ("cni/10-dlstack.conflist", _pod_network(node)),
    ):
        write_private(folder / name, json.dumps(content, indent=1).encode())
    for private in (folder / "logs", folder / "pod-logs"):
        private.mkdir(exist_ok=True)
        private.chmod(0o700)


def server_url(ranges: Ranges) -> str:
    """Where the API server answers."""
    return f"https://{ranges.node}:{API_PORT}"


def _kubelet(node: Node, pki: Path, control_group: str) -> dict[str, object]:
    server = _file_of("kubelet-server", node)
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": str(node.address),
        "healthzBindAddress": str(node.address),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{server}.crt"),
        "tlsPrivateKeyFile": str(pki / f"{server}.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{control_group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{containerd.SOCKET}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [str(node.ranges.dns_service)],
        "resolvConf": str(INSIDE / resolver.FILE),
        "podLogsDir": str(INSIDE / "pod-logs"),
        "volumePluginDir": str(KUBELET / "volume-plugins"),
        # There is no registry to fetch a removed image from again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "1Gi",
            "imagefs.available": "1Gi",
        },
        # Starts and ends of pods show quickly, also when there are many at once.
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
    }


def _kube_proxy(node: Node, pki: Path) -> dict[str, object]:
    return {
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "mode": "iptables",
        "clusterCIDR": str(node.ranges.pods),
        "hostnameOverride": node.name,
        "healthzBindAddress": f"{node.address}:10256",
        "metricsBindAddress": f"{node.address}:10249",
        "clientConnection": {"kubeconfig": str(pki / f"{_file_of('kube-proxy', node)}.kubeconfig")},
        # The kernel's limits stay as the machine has them.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "nodePortAddresses": [f"{node.address}/32"],
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
    }


def _pod_network(node: Node) -> dict[str, object]:
    """Return the list of CNI plugins that give a pod its network: routed, with no bridge.

    A bridge would need the kernel's br_netfilter, which concerns every bridge of the machine. What
    leaves for other networks is translated once for all pods (`machine.network`).
    """
    return {
        "cniVersion": "1.0.0",
        "name": "dlstack",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(node.pods)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    # It ends with the namespaces, as the addresses do.
                    "dataDir": "/run/cni-addresses",
                },
            },
        ],
    }
