"""The platform as the commands see it: a cluster, made here or brought, and what reaches it."""

import contextlib
import filecmp
import json
import os
import shutil
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from . import node_count, preparation
from .brought import images, tools
from .brought.kubeconfig import Kubeconfig
from .build import pulumi
from .build.programs import FRONTEND, programs_of
from .console import LocalError, say
from .home import Home
from .kubernetes import addons, proxy_relay
from .kubernetes.cluster import Cluster
from .machine import proxies
from .person import home_folder
from .stack import leftovers
from .stack.stack import defaults, environment, shown


class Platform:
    """The parts that the commands work on."""

    def __init__(self) -> None:
        self.home = Home.from_environment()
        self.cluster = Cluster(self.home)
        self.brought_kubeconfig = self._brought()
        """Of a cluster that the person brings, which replaces the embedded one."""

    def _brought(self) -> Kubeconfig | None:
        given, context = os.environ.get("KUBECONFIG", ""), os.environ.get("DLSTACK_CONTEXT")
        if context:
            return Kubeconfig(given or str(home_folder() / ".kube" / "config"), context)
        # Our own may be one of several: after `eval "$(make env)"`, say.
        if str(self.cluster.kubeconfig) == given.partition(os.pathsep)[0] or not given:
            return None
        return Kubeconfig(given)

    @cached_property
    def tool_cluster(self) -> tools.ToolCluster | None:
        """The cluster that is brought, if kind, k3d or minikube made it and no image is named.

        Raises:
            LocalError: the kubeconfig can't be used.
        """
        if self.brought_kubeconfig is None or os.environ.get("RUNTIME_IMAGE"):
            return None
        return tools.recognise(self.brought_kubeconfig.current())

    @property
    def runtime_image(self) -> str:
        """Name of the image with dlstack's dependencies, as the cluster knows it.

        Raises:
            LocalError: the cluster is not ours, can't be given an image, and no image is named.
        """
        if self.brought_kubeconfig is None:
            return self.cluster.images.runtime
        if given := os.environ.get("RUNTIME_IMAGE"):
            return given
        if self.tool_cluster is not None:
            return images.name()
        raise LocalError(
            f"KUBECONFIG ({self.brought_kubeconfig}) is of a cluster that neither kind nor k3d nor "
            "minikube made, and no image is set.",
            "Build it (`docker build -f local/build/image/Containerfile .`), "
            "push it where the cluster can pull from, and set RUNTIME_IMAGE to its name.",
        )

    def load_image(self) -> None:
        """Have the image on the nodes of a cluster of kind, k3d or minikube.

        Raises:
            LocalError: the cluster does not run; nothing here can build or load the image.
        """
        cluster = self.tool_cluster
        if cluster is None:
            return
        image = images.name()
        if cluster.has(image):
            say(f"{cluster} has {image}")
            return
        cluster.check_tool()
        builder = images.builder()
        logs = self.home.cache / "logs"
        archive = self.home.cache / "image-for-tool.tar"
        try:
            images.build(builder, image, archive, logs / "images.log")
            cluster.load(image, archive, logs / f"{cluster.tool.program}.log")
        finally:
            archive.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """The variables for `pulumi`, `kubectl` and the client."""
        brought = self.brought_kubeconfig
        kubeconfig = brought.value(self.home.stacks / "contexts") if brought else None
        variables = environment(self.home, kubeconfig or str(self.cluster.kubeconfig))
        if kubeconfig:
            variables["KUBECONFIG"] = kubeconfig
        if self.brought_kubeconfig is None and self.cluster.kubeconfig.exists():
            variables["PATH"] = f"{self.cluster.programs_folder()}{os.pathsep}{variables['PATH']}"
        return {**variables, **proxies.exceptions(os.environ)}

    def place_frontend(self, *, build: bool) -> Path | None:
        """Have the model server's front end beside this Python, where `python -m serving` looks.

        Args:
            build: if it isn't built yet. Else nothing is done then.

        Returns:
            Where it is; None: nothing was done.

        Raises:
            LocalError: it can't be built.
        """
        programs = programs_of(self.home)
        if not build and not programs.is_there(FRONTEND):
            return None
        built, place = programs.build(FRONTEND), Path(sys.executable).with_name(FRONTEND.name)
        if not place.exists() or not filecmp.cmp(built, place, shallow=False):
            # One that runs is not written into.
            unfinished = place.with_suffix(f".{os.getpid()}")
            shutil.copy2(built, unfinished)
            unfinished.replace(place)
        return place

    def pass_by_proxies(self) -> None:
        """Have this process, and all that it starts, ask no proxy for what is the platform's."""
        os.environ.update(proxies.completed(os.environ, self.cluster.addresses))

    def pod_proxy(self) -> str | None:
        """The value of `dlstack:proxy` for pods of the embedded cluster: JSON, or empty.

        None: the cluster is brought, and what its pods need is not for this machine to say.
        """
        if self.brought_kubeconfig is not None:
            return None
        found = proxy_relay.seen_from_pods(os.environ, self.cluster.ranges)
        keys = {"httpProxy": "http_proxy", "httpsProxy": "https_proxy", "noProxy": "no_proxy"}
        value = {key: found[name] for key, name in keys.items() if found.get(name)}
        return json.dumps(value) if value.keys() - {"noProxy"} else ""

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Make in the background what `up` is going to need."""
        own = defaults(self.home, str(self.cluster.kubeconfig))
        pulumi_home = Path(os.environ.get("PULUMI_HOME") or own["PULUMI_HOME"])
        programs = pulumi.needed(self.home, pulumi_home)
        runtime = None
        if self.brought_kubeconfig is None:
            runtime = self.cluster.images
            of_image = [] if runtime.is_runtime_built() else [FRONTEND]
            programs = [*self.cluster.needed_programs(), *of_image, *programs]
        with preparation.begun(self.home, programs, runtime):
            yield

    def named_by_shell(self) -> str:
        """What the shell's variables name in the place of this machine's own, as `NAME=value`."""
        own = defaults(self.home, str(self.cluster.kubeconfig))
        return " ".join(
            f"{name}={shown(os.environ[name])}"
            for name in ("PULUMI_STACK", "PULUMI_BACKEND_URL", "KUBECONFIG", "DLSTACK_CONTEXT")
            if os.environ.get(name) and _place(os.environ[name]) != _place(own.get(name, ""))
        )

    def settings_of_own_cluster(self) -> list[str]:
        """The variables of the shell that say how a cluster is to be made here."""
        names = (node_count.VARIABLE, addons.VARIABLE)
        return [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]

    @contextlib.contextmanager
    def locked(self, gibibytes: int) -> Iterator[None]:
        """Hold the platform's folder, with room on its disk and nothing left of a killed command.

        A plugin whose `pulumi` was killed is ended, and named.
        """
        self.home.make_room(gibibytes)
        with self.home.locked():
            own = defaults(self.home, str(self.cluster.kubeconfig))
            for left in leftovers.end(os.environ.get("PULUMI_HOME") or own["PULUMI_HOME"]):
                say(f"ended {left.name} (process {left.pid}), left behind by a killed `pulumi`")
            yield


def _place(address: str) -> Path:
    """What a variable names, however it is written: without the options of a back end's URL."""
    return Path(address.partition("?")[0])
