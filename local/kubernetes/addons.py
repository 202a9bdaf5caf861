"""What a cluster of more than one node has besides: enforced NetworkPolicies, and the metrics API.

Each node has a process that decides about connections of its pods, the first one a process that
answers for the metrics API: what an autoscaler asks, and `kubectl top`. One node can have the
metrics API as well. Both are built when they are first needed.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import node_count
from ..build import programs as built
from ..build.programs import Program, Programs
from ..console import LocalError
from ..durable import settle
from ..machine.network import QUEUE, NodeNetwork
from ..machine.processes import Daemon
from .api_server import ApiServer
from .configuration import METRICS_SERVER, NETWORK_POLICIES, server_url
from .nodes import Node
from .pki import Authority
from .readiness import wait_for

VARIABLE = "METRICS"
_METRICS_API = "/apis/metrics.k8s.io/v1beta1"
_METRICS_NAME = "v1beta1.metrics.k8s.io"
_METRICS_PORT = 4443
"""Of the first node's address."""
_ASKED = "metrics"
_INSTALLED = "addons"
_MANIFESTS = Path(__file__).resolve().parent / "manifests"


def keep(folder: Path) -> None:
    """Note down whether the environment asks for the metrics API, whatever the number of nodes.

    Args:
        folder: of the cluster.

    Raises:
        LocalError: it asks for what can't be.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "0", "1"):
        raise LocalError(
            f"{VARIABLE} is '{asked}'.", "Set it to 1 to have the metrics API, to 0 to have none."
        )
    if asked == "1":
        (folder / _ASKED).touch()
    elif asked == "0":
        (folder / _ASKED).unlink(missing_ok=True)


def wanted(folder: Path, number: int) -> list[Program]:
    """The programs of what a cluster of so many nodes has besides."""
    if number > 1:
        return [built.NETWORK_POLICIES, built.METRICS_SERVER]
    asked = os.environ.get(VARIABLE) or str(int((folder / _ASKED).exists()))
    return [built.METRICS_SERVER] if asked == "1" else []


def policies(folder: Path, node: Node, pki: Path, program: Path) -> Daemon:
    """The process that decides about the connections of a node's pods.

    Args:
        folder: of the node; the first one's is the cluster's.
        node: whose pods they are.
        pki: the cluster's keys.
        program: `network-policies` of local/build/go/addons.
    """
    kubeconfig = pki / f"{NETWORK_POLICIES}.kubeconfig"
    flags: list[str | Path] = ["-kubeconfig", kubeconfig, "-node", node.name, "-queue", str(QUEUE)]
    return Daemon(NETWORK_POLICIES, [program, *flags], folder)


def installed(folder: Path) -> set[str]:
    """The names of those that the cluster had when it was last started."""
    try:
        return set((folder / _INSTALLED).read_text().split())
    except FileNotFoundError:
        return set()


@dataclass(frozen=True)
class Addons:
    """Those of the cluster in `folder`, on its first node."""

    folder: Path
    node: Node
    """The first."""
    network: NodeNetwork
    """Of the first node."""
    programs: Programs
    api: ApiServer

    def start(self, start: Callable[[Daemon], bool], enter: Sequence[str]) -> None:
        """Start those that are wanted, and take away those that no longer are.

        Before the first pod connects to anybody: NetworkPolicies are to decide about that.

        Args:
            start: starts a process on the first node.
            enter: the words before a command that is to run there.

        Raises:
            LocalError: one did not come up, or can't be built.
        """
        present = self._wanted
        names = {program.name for program in present}
        self._remove(installed(self.folder) - names, enter)
        if names != installed(self.folder):
            unfinished = self.folder / f"{_INSTALLED}.new"
            unfinished.write_text(" ".join(sorted(names)))
            settle(unfinished, self.folder / _INSTALLED)
        if not present:
            return
        self.programs.make(*present)
        self._issue()
        self.api.apply(*map(self._manifest, present))
        if METRICS_SERVER in names:
            start(self._metrics)
        if NETWORK_POLICIES in names:
            self.network.queue_connections(enter)
            program = self.programs.path(built.NETWORK_POLICIES)
            daemon = policies(self.folder, self.node, self.folder / "pki", program)
            start(daemon)
            wait_for(daemon, lambda: self.network.are_decided(enter))

    def finish(self) -> None:
        """Wait until the API server knows who answers for the metrics API.

        Raises:
            LocalError: it never does.
        """
        if built.METRICS_SERVER in self._wanted:
            wait_for(self._metrics, lambda: self.api.get(_METRICS_API) is not None)

    @property
    def _wanted(self) -> list[Program]:
        return wanted(self.folder, node_count.count(self.folder))

    @property
    def _metrics(self) -> Daemon:
        """The process that answers for the metrics API."""
        pki = self.folder / "pki"
        kubeconfig = pki / f"{METRICS_SERVER}.kubeconfig"
        flags = {
            "kubeconfig": kubeconfig,
            "authentication-kubeconfig": kubeconfig,
            "authorization-kubeconfig": kubeconfig,
            "bind-address": self.node.address,
            "secure-port": _METRICS_PORT,
            "tls-cert-file": pki / f"{METRICS_SERVER}-serving.crt",
            "tls-private-key-file": pki / f"{METRICS_SERVER}-serving.key",
            "kubelet-certificate-authority": pki / "ca.crt",
            "kubelet-preferred-address-types": "InternalIP",
            # The shortest that it takes: an autoscaler sees load sooner.
            "metric-resolution": "10s",
            "kubelet-request-timeout": "5s",
        }
        words = [f"--{name}={value}" for name, value in flags.items()]
        program = self.programs.path(built.METRICS_SERVER)
        return Daemon(METRICS_SERVER, [program, *words], self.folder)

    def _issue(self) -> None:
        """Have the keys of both."""
        authority = Authority(self.folder / "pki")
        for name in (NETWORK_POLICIES, METRICS_SERVER):
            authority.kubeconfig(name, f"dlstack:{name}", None, server_url(self.node.ranges))
        service = f"{METRICS_SERVER}.kube-system.svc"
        authority.issue(f"{METRICS_SERVER}-serving", METRICS_SERVER, addresses=(service,))

    def _manifest(self, program: Program) -> str:
        """What to apply for one of them."""
        text = (_MANIFESTS / f"{program.name}.yaml").read_text()
        for name, value in (
            ("IP", str(self.node.address)),
            ("PORT", str(_METRICS_PORT)),
            ("CA", Authority(self.folder / "pki").encoded_certificate()),
        ):
            text = text.replace(f"${{{name}}}", value)
        return text

    def _remove(self, names: set[str], enter: Sequence[str]) -> None:
        for name in names:
            Daemon(name, (), self.folder).stop()
        if NETWORK_POLICIES in names:
            self.network.pass_connections(enter)
        if METRICS_SERVER in names:
            # One that nobody answers is in the way of whoever asks for all APIs.
            self.api.kubectl("delete", "apiservice", _METRICS_NAME, "--ignore-not-found")
