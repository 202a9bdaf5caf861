"""What else runs here: other Kubernetes, other container runtimes, and proxies that are set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..proxies import place
from .facts import Machine, Needs
from .finding import Finding, ok, warning

KUBERNETES = {
    "k3s": "k3s",
    "k3s-server": "k3s",
    "k0s": "k0s",
    "rke2": "RKE2",
    "kubelite": "MicroK8s",
    "kubelet": "a kubelet",
    "kube-apiserver": "a kube-apiserver",
}
"""Names of processes, and whose they are."""
RUNTIMES = {"dockerd": "Docker", "containerd": "containerd", "crio": "CRI-O", "conmon": "Podman"}
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def examine(machine: Machine, needs: Needs) -> Iterator[Finding]:
    clusters, runtimes = set(), set()
    for process in machine.path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            if name not in KUBERNETES and name not in RUNTIMES:
                continue
        except OSError:
            continue
        if int(process.name) in needs.processes:
            continue
        if name in KUBERNETES:
            clusters.add(KUBERNETES[name])
        else:
            runtimes.add(RUNTIMES[name])
    if clusters:
        shown = ", ".join(sorted(clusters))
        yield ok("other Kubernetes", f"{shown}: the cluster runs beside, in its own namespaces")
    if runtimes:
        yield ok("container runtimes", f"{', '.join(sorted(runtimes))}: left alone")


def proxies(machine: Machine) -> Iterator[Finding]:
    """What the proxy variables say, without passwords."""
    found = {}
    for name in PROXIES:
        for spelt in (name, name.lower()):
            if machine.environment.get(spelt):
                found[spelt] = machine.environment[spelt]
    if not found:
        return
    for name, value in found.items():
        has_protocol = re.match(r"^(https?|socks5h?)://[^/]", value)
        if not has_protocol or not place(value):
            lacks = "is no address" if has_protocol else "names no protocol"
            yield warning(
                "proxy",
                f"{name} is '{value.rpartition('@')[2]}', which {lacks}",
                f"Write it as {name}=http://HOST:PORT.",
            )
            return
    for name in PROXIES:
        upper, lower = found.get(name), found.get(name.lower())
        if upper and lower and upper != lower:
            yield warning(
                "proxy",
                f"{name} and {name.lower()} differ: programs disagree on which counts",
                "Set both to the same, or one of them.",
            )
            return
    shown = ", ".join(f"{name} {_without_password(value)}" for name, value in found.items())
    yield ok("proxy", f"{shown}; the cluster's own addresses pass by it")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}"
