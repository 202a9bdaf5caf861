"""`python -m local`: this machine's own Kubernetes and Pulumi, and the stack that runs on them."""

import argparse
import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .build.images import Images
from .console import LocalError, say
from .home import Home
from .kubernetes.cluster import Cluster
from .machine import node

# Measured, with some air: Go's sources and objects 8 GiB, images and their archives 5 GiB.
COLD_GIBIBYTES = 18
WARM_GIBIBYTES = 2
DIGITS = 10

COMMANDS: dict[str, tuple[str, Callable[["Platform"], None]]] = {}


def command(help_text: str) -> "Callable[[Callable[[Platform], None]], Callable[[Platform], None]]":
    """Make a function a command of its name."""

    def register(function: "Callable[[Platform], None]") -> "Callable[[Platform], None]":
        COMMANDS[function.__name__] = (help_text, function)
        return function

    return register


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
            return Images(self.home, self.cluster).runtime
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
        from .stack.stack import environment

        variables = environment(self.home, self.brought_kubeconfig or self.cluster.kubeconfig)
        if self.brought_kubeconfig is None:
            variables["PATH"] = f"{self.cluster.programs_folder()}{os.pathsep}{variables['PATH']}"
        return variables

    @contextlib.contextmanager
    def locked(self, gibibytes: int) -> Iterator[None]:
        """Hold the platform's folder, with room on its disk."""
        self.home.make_room(gibibytes)
        with self.home.locked():
            yield


@command("have Pulumi, the cluster and its images ready; makes what is missing")
def up(platform: Platform) -> None:
    if platform.brought_kubeconfig:
        say(f"using the cluster of KUBECONFIG={platform.brought_kubeconfig}")
        if not platform.brought_kubeconfig.exists():
            raise LocalError(
                f"KUBECONFIG is '{platform.brought_kubeconfig}', and there is no such file.",
                "Correct it, or unset it to have a cluster made here.",
            )
        platform.runtime_image  # noqa: B018  (says what is missing before anything is made)
        with platform.locked(WARM_GIBIBYTES):
            platform.environment()
        return
    node.check_machine()
    cold = not platform.cluster.kubeconfig.exists()
    with platform.locked(COLD_GIBIBYTES if cold else WARM_GIBIBYTES):
        platform.cluster.check_ports()
        node.install_packages(platform.home.cache / "logs" / "packages.log")
        ran_before = platform.cluster.is_running()
        try:
            platform.cluster.start_runtime()
            Images(platform.home, platform.cluster).load()
            platform.cluster.start()
        except BaseException:
            # Half a cluster is no use to anybody, and its processes would be left behind.
            if not ran_before:
                platform.cluster.stop()
            raise
        platform.environment()
    say(f"the cluster is ready: KUBECONFIG={platform.cluster.kubeconfig}")


@command("deploy the stack with `pulumi up`, then predict held-out digits through the exposed port")
def deploy(platform: Platform) -> None:
    from .stack import held_out
    from .stack.stack import EXAMPLE, GRPC_NODE_PORT, Stack, data_set

    begun = time.monotonic()
    with platform.locked(WARM_GIBIBYTES):
        variables = platform.environment()
        stack = Stack(variables)
        data_dir = data_set(platform.home)
        defaults = {"dataDir": str(data_dir)}
        if platform.brought_kubeconfig is None:
            defaults |= {"host": "127.0.0.1", "grpcNodePort": str(GRPC_NODE_PORT)}
        settings = stack.configure({"runtimeImage": platform.runtime_image}, defaults)
        stack.up()
        deployed = time.monotonic()
        # Code of one's own answers other questions than which digit it is.
        is_example = settings["codeDir"] == EXAMPLE
        truths, answers = held_out.predict(variables, data_dir, DIGITS) if is_example else ([], [])
    right = sum(answer == truth for answer, truth in zip(answers, truths, strict=True))
    if is_example:
        print("\nheld-out digit " + " ".join(f"{truth:>2}" for truth in truths))
        print("answer         " + " ".join(f"{answer:>2}" for answer in answers))
        print(f"               {right} of {len(truths)} right")
    print(flush=True)
    stack.status()
    print()
    say(f"pulumi up {deployed - begun:.1f} s, all answers after {time.monotonic() - begun:.1f} s")
    print(
        "\nNext:\n"
        "  make predict IMAGE=picture.png   # any picture of a digit\n"
        "  make status                      # the parts, the job, the models and the addresses\n"
        "  make logs                        # what the training job said\n"
        '  eval "$(make env)"               # pulumi, kubectl and the client in this shell\n'
        "  make destroy                     # take the stack down\n"
        "  make down                        # and the cluster"
    )
    if right * 2 < len(truths):
        raise LocalError("most answers are wrong.", "The log of the training Job may say why.")


@command("show the parts of the platform and the stack's addresses")
def status(platform: Platform) -> None:
    if platform.brought_kubeconfig:
        print(f"cluster      {platform.brought_kubeconfig}")
    else:
        if not platform.cluster.kubeconfig.exists():
            print("nothing is here yet. `make up` makes it.")
            return
        for daemon in platform.cluster.processes():
            pid = daemon.pid()
            state = f"running, process {pid}" if pid else "stopped"
            print(f"{daemon.name:<24} {state:<24} {daemon.log}")
        if not platform.cluster.is_running():
            return
    from .stack.stack import Stack

    stack = Stack(platform.environment())
    if not stack.exists():
        print("\nno stack is deployed. `make up` deploys it.")
        return
    print(flush=True)
    stack.status()


@command("print the shell variables for `pulumi`, `kubectl` and the client")
def env(platform: Platform) -> None:
    for name, value in platform.environment().items():
        print(f"export {name}={shlex.quote(value)}")


@command("take the stack down with `pulumi destroy`")
def destroy(platform: Platform) -> None:
    if platform.brought_kubeconfig is None and not platform.cluster.is_running():
        say("nothing to destroy: the cluster does not run")
        return
    from .stack.stack import Stack

    begun = time.monotonic()
    with platform.locked(0):
        stack = Stack(platform.environment())
        if stack.exists():
            stack.destroy()
        if platform.brought_kubeconfig is None:
            platform.cluster.recycle_volumes()
    say(f"the stack is gone ({time.monotonic() - begun:.1f} s)")


@command("stop the embedded cluster and end all its processes; its data stays for the next `up`")
def down(platform: Platform) -> None:
    if platform.brought_kubeconfig:
        say("the cluster is your own (KUBECONFIG), it is left as it is")
        return
    if not platform.home.platform.exists():
        say("nothing to stop: there is no cluster here")
        return
    node.check_machine()
    with platform.locked(0):
        platform.cluster.stop()
    say(f"the cluster is stopped; `rm -r {platform.home.root}` also removes what it keeps")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (help_text, _) in COMMANDS.items():
        commands.add_parser(name, help=help_text, description=help_text)
    chosen = parser.parse_args().command
    try:
        COMMANDS[chosen][1](Platform())
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
