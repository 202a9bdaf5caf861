"""What the cluster's processes are called with, and the files that they read."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..home import write_private
from ..machine import name_relay, namespaces, resolver
from ..machine.namespaces import INSIDE
from ..machine.processes import Daemon
from ..machine.ranges import Ranges
from . import containerd, node_ports, provisioner, proxy_relay
from .pki import Authority

NODE_NAME = "dlstack"
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
ON_THE_MACHINE = (RESOLVER, proxy_relay.NAME, VOLUME_PROVISIONER, node_ports.NAME)
"""The processes outside the node's namespaces."""
PROCESSES = (
    *(namespaces.NAME, RESOLVER, proxy_relay.NAME, "containerd", "etcd"),
    *(*PORTS, VOLUME_PROVISIONER, node_ports.NAME),
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

    def kubernetes(name: str, /, reads: Sequence[Path] = (), **flags: object) -> Daemon:
        words = [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()]
        return Daemon(name, [*command(name), *words], folder, reads=reads)

    listed = [
        Daemon(
            RESOLVER,
            [python, folder / "name_relay.py", str(ranges.machine), str(resolver.PORT)],
            folder,
            reads=[folder / "name_relay.py"],
        ),
        Daemon(
            "containerd",
            ["containerd", "--config", INSIDE / "containerd.toml"],
            folder,
            # It alone talks to the world: to registries, for images that are not made here.
            proxy_relay.seen_from_pods(os.environ, ranges),
            reads=[folder / "containerd.toml"],
        ),
        # Sockets instead of ports: only root of this machine gets at the store, without a
        # certificate of its own.
        kubernetes(
            "etcd",
            name=NODE_NAME,
            data_dir=INSIDE / "etcd",
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
            bind_address=ranges.node,
            advertise_address=ranges.node,
            secure_port=API_PORT,
            service_cluster_ip_range=ranges.services,
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
        kubernetes(
            "kubelet",
            reads=[folder / "kubelet.json"],
            config=INSIDE / "kubelet.json",
            kubeconfig=pki / "kubelet.kubeconfig",
            root_dir=KUBELET,
            cert_dir=KUBELET / "pki",
            node_ip=ranges.node,
            hostname_override=NODE_NAME,
        ),
        kubernetes(
            "kube-proxy",
            reads=[folder / "kube-proxy.json"],
            config=INSIDE / "kube-proxy.json",
        ),
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
    authority.issue("kubelet-server", f"system:node:{NODE_NAME}", addresses=(str(ranges.node),))
    server = f"https://{ranges.node}:{API_PORT}"
    # These are used on the machine, the others in the node's namespaces.
    authority.kubeconfig("admin", "admin", "system:masters", server)
    authority.kubeconfig(node_ports.NAME, node_ports.USER, None, server)
    for file, user, organisation in (
        ("kube-controller-manager", "system:kube-controller-manager", None),
        ("kube-scheduler", "system:kube-scheduler", None),
        ("kube-proxy", "system:kube-proxy", None),
        ("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
    ):
        authority.kubeconfig(file, user, organisation, server, seen_at=INSIDE / "pki")
    write_private(
        folder / "containerd.toml", containerd.configuration(INSIDE, sandbox_image).encode()
    )
    for name, content in (
        ("kubelet.json", _kubelet(ranges, control_group)),
        ("kube-proxy.json", _kube_proxy(ranges)),
        ("cni/10-dlstack.conflist", _pod_network(ranges)),
    ):
        write_private(folder / name, json.dumps(content, indent=1).encode())
    # Copies: the processes don't depend on what becomes of the checkout.
    for script in map(Path, (provisioner.__file__, name_relay.__file__)):
        write_private(folder / script.name, script.read_bytes())
    # Pods get at a volume's folder by a mount of it. Nobody else on this machine reads it.
    for private in (volumes(folder), folder / "logs", folder / "pod-logs"):
        private.mkdir(exist_ok=True)
        private.chmod(0o700)


def _kubelet(ranges: Ranges, control_group: str) -> dict[str, object]:
    pki = INSIDE / "pki"
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": str(ranges.node),
        "healthzBindAddress": str(ranges.node),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{control_group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{containerd.SOCKET}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [str(ranges.dns_service)],
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


def _kube_proxy(ranges: Ranges) -> dict[str, object]:
    return {
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "mode": "iptables",
        "clusterCIDR": str(ranges.pods),
        "hostnameOverride": NODE_NAME,
        "healthzBindAddress": f"{ranges.node}:10256",
        "metricsBindAddress": f"{ranges.node}:10249",
        "clientConnection": {"kubeconfig": str(INSIDE / "pki" / "kube-proxy.kubeconfig")},
        # The kernel's limits stay as the machine has them.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "nodePortAddresses": [f"{ranges.node}/32"],
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
    }


def _pod_network(ranges: Ranges) -> dict[str, object]:
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
                    "ranges": [[{"subnet": str(ranges.pods)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    # It ends with the namespaces, as the addresses do.
                    "dataDir": "/run/cni-addresses",
                },
            },
        ],
    }
