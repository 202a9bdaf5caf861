"""Another cluster on this machine: an API server with its store, and no node."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.__main__ import Platform
from local.kubernetes.pki import Authority
from tests.ports import free_port

HOST = "127.0.0.1"
_STARTUP_SECONDS = 180


@contextmanager
def another_cluster(platform: Platform, folder: Path) -> Iterator[Path]:
    """Run it; give its kubeconfig, whose context has the name that the embedded cluster's has."""
    authority = Authority(folder / "pki")
    authority.create()
    # Nobody else gets it afterwards either: where a cluster was, nothing is to answer.
    yield from _run(platform, folder, authority, free_port())


def _run(platform: Platform, folder: Path, authority: Authority, port: int) -> Iterator[Path]:
    kubeconfig = authority.kubeconfig("admin", "admin", "system:masters", f"https://{HOST}:{port}")
    certificate, key = authority.issue("server", "server", addresses=[HOST])
    account_key = authority.folder / "service-account.key"
    # Sockets in the folder, as the embedded one has.
    store, peers = "unix://etcd:0", "unix://etcd-peer:0"
    commands = {
        "etcd": {
            "name": "other",
            "data-dir": folder / "etcd-data",
            "listen-client-urls": store,
            "advertise-client-urls": store,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"other={peers}",
            "log-level": "warn",
        },
        "kube-apiserver": {
            "etcd-servers": store,
            "bind-address": HOST,
            "advertise-address": HOST,
            "endpoint-reconciler-type": "none",
            "secure-port": port,
            "service-cluster-ip-range": "10.80.0.0/24",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": account_key,
            "service-account-signing-key-file": account_key,
            "client-ca-file": authority.certificate,
            "tls-cert-file": certificate,
            "tls-private-key-file": key,
            "authorization-mode": "RBAC",
            "cert-dir": folder,
        },
    }
    processes = []
    try:
        for name, flags in commands.items():
            words = [f"--{flag}={value}" for flag, value in flags.items()]
            with (folder / f"{name}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [*platform.cluster.programs.command(name), *words],
                        cwd=folder,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        ask = [*platform.cluster.programs.command("kubectl"), f"--kubeconfig={kubeconfig}"]
        deadline = time.monotonic() + _STARTUP_SECONDS
        while subprocess.run([*ask, "get", "ns", "kube-system"], capture_output=True).returncode:
            assert time.monotonic() < deadline, (folder / "kube-apiserver.log").read_text()[-2000:]
            time.sleep(0.2)
        yield kubeconfig
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()
