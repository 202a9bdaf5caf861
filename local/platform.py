"""The platform as the commands see it: a cluster, made here or brought, and what reaches it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .console import LocalError, say
from .home import Home
from .kubernetes.cluster import Cluster
from .machine import proxies
from .stack import leftovers
from .stack.stack import defaults, environment, shown


class Platform:
    """The parts that the commands work on."""

    def __init__(self) -> None:
        self.home = Home.from_environment()
        self.cluster = Cluster(self.home)
        given = os.environ.get("KUBECONFIG")
        self.brought_kubeconfig = (
            Path(given) if given and Path(given) != self.cluster.kubeconfig else None
        )
        """The file of a cluster that the person brings, which replaces the embedded one."""

    @property
    def runtime_image(self) -> str:
        """Name of the image with dlstack's dependencies, as the cluster knows it.

        Raises:
            LocalError: the cluster is not ours and no image is named.
        """
        if self.brought_kubeconfig is None:
            return self.cluster.images.runtime
        try:
            return os.environ["RUNTIME_IMAGE"]
        except KeyError:
            raise LocalError(
                f"KUBECONFIG ({self.brought_kubeconfig}) is your own, but no image is set.",
                "Build it (`docker build -f local/build/image/Containerfile local/build/image`), "
                "push it where the cluster can pull from, and set RUNTIME_IMAGE to its name.",
            ) from None

    def environment(self) -> dict[str, str]:
        """The variables for `pulumi`, `kubectl` and the client."""
        variables = environment(self.home, self.brought_kubeconfig or self.cluster.kubeconfig)
        if self.brought_kubeconfig is None and self.cluster.kubeconfig.exists():
            variables["PATH"] = f"{self.cluster.programs_folder()}{os.pathsep}{variables['PATH']}"
        return {**variables, **proxies.exceptions(os.environ)}

    def pass_by_proxies(self) -> None:
        """Have this process, and all that it starts, ask no proxy for what is the platform's."""
        os.environ.update(proxies.completed(os.environ, self.cluster.addresses))

    def named_by_shell(self) -> str:
        """What the shell's variables name in the place of this machine's own, as `NAME=value`."""
        own = defaults(self.home, self.cluster.kubeconfig)
        return " ".join(
            f"{name}={shown(os.environ[name])}"
            for name in ("PULUMI_STACK", "PULUMI_BACKEND_URL", "KUBECONFIG")
            if os.environ.get(name) and _place(os.environ[name]) != _place(own[name])
        )

    @contextlib.contextmanager
    def locked(self, gibibytes: int) -> Iterator[None]:
        """Hold the platform's folder, with room on its disk and nothing left of a killed command.

        A plugin whose `pulumi` was killed is ended, and named.
        """
        self.home.make_room(gibibytes)
        with self.home.locked():
            own = defaults(self.home, self.cluster.kubeconfig)
            for left in leftovers.end(os.environ.get("PULUMI_HOME") or own["PULUMI_HOME"]):
                say(f"ended {left.name} (process {left.pid}), left behind by a killed `pulumi`")
            yield


def _place(address: str) -> Path:
    """What a variable names, however it is written: without the options of a back end's URL."""
    return Path(address.partition("?")[0])
