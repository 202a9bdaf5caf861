"""What the cluster's processes are called with, and the files that they read."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..home import write_private
from ..machine import proxies
from ..machine.cgroups import CGROUP
from ..machine.network import BRIDGE
from ..machine.processes import Daemon
from . import containerd, node_ports, provisioner
from .pki import Authority

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
KUBELET_HEALTH_PORT = 10248
VOLUME_PROVISIONER = "volume-provisioner"
PROCESSES = ("containerd", "etcd", *PORTS, VOLUME_PROVISIONER, node_ports.NAME)


def daemons(folder: Path, command: Callable[[str], list[str | Path]]) -> dict[str, Daemon]:
    """The cluster's processes by name, in the order in which they start.

    Args:
        folder: of the cluster.
        command: the words that start a program of Kubernetes or etcd.
    """
    pki = folder / "pki"

    def kubernetes(name: str, /, **flags: object) -> Daemon:
        words = [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()]
        return Daemon(name, [*command(name), *words], folder)

    listed = [
        Daemon(
            "containerd",
            ["containerd", "--config", folder / "containerd.toml"],
            folder,
            # It alone talks to the world: to registries, for images that are not made here.
            proxies.only(os.environ),
        ),
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
            # It makes requests wait for each other at start-up, to be fair among users: there is
            # only one.
            enable_priority_and_fairness="false",
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
        Daemon(
            VOLUME_PROVISIONER,
            [
                *(sys.executable, folder / "provisioner.py"),
                *("--kubeconfig", pki / "admin.kubeconfig", "--folder", volumes(folder)),
            ],
            folder,
        ),
    ]
    return {daemon.name: daemon for daemon in listed}


def volumes(folder: Path) -> Path:
    """Where the folders of the volumes are in the cluster's folder."""
    return folder / "volumes"


def write(folder: Path, sandbox_image: str) -> None:
    """Write keys, certificates and configuration files into the cluster's folder.

    Args:
        folder: of the cluster.
        sandbox_image: holds the program that keeps a pod's namespaces open.
    """
    authority = Authority(folder / "pki")
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
        (node_ports.NAME, node_ports.USER, None),
    ):
        authority.kubeconfig(file, user, organisation, f"https://{NODE_IP}:{API_PORT}")
    write_private(
        folder / "containerd.toml", containerd.configuration(folder, sandbox_image).encode()
    )
    for name, content in (
        ("kubelet.json", _kubelet(folder)),
        ("kube-proxy.json", _kube_proxy(folder)),
        ("cni/10-dlstack.conflist", _pod_network(folder)),
    ):
        write_private(folder / name, json.dumps(content, indent=1).encode())
    # A copy: the process doesn't depend on what becomes of the checkout.
    write_private(folder / "provisioner.py", Path(provisioner.__file__).read_bytes())
    # Pods get at a volume's folder by a mount of it. Nobody else on this machine reads it.
    volumes(folder).mkdir(exist_ok=True)
    volumes(folder).chmod(0o700)


def _kubelet(folder: Path) -> dict[str, object]:
    pki = folder / "pki"
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
        "cgroupRoot": f"/{CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{containerd.socket(folder)}",
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
        # Starts and ends of pods show quickly, also when there are many at once.
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
    }


def _kube_proxy(folder: Path) -> dict[str, object]:
    return {
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NODE_NAME,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": str(folder / "pki" / "kube-proxy.kubeconfig")},
        # The kernel's limits stay as the machine has them.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        # At no address of this machine: there `node-ports` listens.
        "nodePortAddresses": [f"{NODE_IP}/32"],
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
    }


def _pod_network(folder: Path) -> dict[str, object]:
    """Return the list of CNI plugins that give a pod its network: one bridge for all."""
    return {
        "cniVersion": "1.0.0",
        "name": "dlstack",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
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
    }
