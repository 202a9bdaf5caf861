"""The commands: each is a function of the platform, and its docstring is its help text."""

import os
import shlex
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import doctor, ports
from .brought.kubeconfig import Kubeconfig
from .console import LocalError, confirm, say
from .doctor import WARM_GIBIBYTES
from .machine import packages
from .machine.checks import check_machine
from .person import behind_sudo
from .platform import Platform
from .stack import contents, held_out
from .stack.stack import EXAMPLE, Stack, data_folder, data_set

IMAGE_GIBIBYTES = 4
"""The image in an archive, on its way into a cluster of kind, k3d or minikube."""
DIGITS = 10
NODE_ACTS = ("cut", "join", "kill", "start")
ON_THIS_MACHINE = {"host": "127.0.0.1", "tensorboardServiceType": "NodePort"}
"""Set on the embedded platform unless set otherwise: its node ports answer on this machine only.
Pulumi.yaml has an empty default for each, or it would count as set."""
STORE_SECONDS = 60
"""After the start of a cluster a stack's store answers within seconds, on a slow machine longer."""

_NEXT = """
Next:
  make predict IMAGE=picture.png   # what the model says of a picture
  make status                      # the parts, the job, the models and the addresses
  make logs                        # what the training job said
  eval "$(make env)"               # pulumi, kubectl and the client in this shell
  make stop                        # stop the cluster and keep everything
  make destroy                     # take the stack down
  make down                        # and stop the cluster"""


def up(platform: Platform) -> None:
    """Have Pulumi, the cluster and its images ready: make what is missing."""
    if platform.brought_kubeconfig:
        _use_brought(platform, platform.brought_kubeconfig)
        return
    doctor.check(platform.home)
    _say_what_root_has(platform)
    with platform.locked(0):
        ran_before = platform.cluster.is_running()
        with platform.prepared():
            packages.install(platform.home.cache / "logs" / "packages.log")
            doctor.try_out(platform.home)
            try:
                platform.cluster.start_runtime()
                with platform.cluster.images.loading(platform.cluster.ctr):
                    platform.cluster.start()
                platform.cluster.start_workers()
            except BaseException:
                # Nobody can use half a cluster, and its processes would be left behind.
                if not ran_before:
                    platform.cluster.stop()
                raise
            platform.environment()
    say(f"the cluster is ready: KUBECONFIG={platform.cluster.kubeconfig}")


def _use_brought(platform: Platform, kubeconfig: Kubeconfig) -> None:
    context = kubeconfig.current()
    say(f"using the cluster of KUBECONFIG={kubeconfig}, context '{context.name}'")
    for name in platform.settings_of_own_cluster():
        say(f"{name} is for a cluster that is made here, and changes nothing in this one")
    platform.runtime_image  # noqa: B018  (says what is missing before anything is made)
    gibibytes = WARM_GIBIBYTES if platform.tool_cluster is None else IMAGE_GIBIBYTES
    with platform.locked(gibibytes), platform.prepared():
        platform.load_image()
        platform.environment()


def frontend(platform: Platform) -> None:
    """Build the front end of the model server, for `python -m serving` on this machine."""
    print(f"{platform.place_frontend(build=True)} is the front end of `python -m serving` here.")


def deploy(platform: Platform) -> None:
    """Deploy the stack with `pulumi up`, then predict held-out digits through the exposed port."""
    begun = time.monotonic()
    platform.place_frontend(build=False)
    _say_what_the_shell_names(platform)
    with platform.locked(WARM_GIBIBYTES):
        variables = platform.environment()
        stack = Stack(variables)
        data_dir = data_folder(platform.home)
        defaults = {"dataDir": str(data_dir)}
        if platform.brought_kubeconfig is None:
            defaults |= ON_THIS_MACHINE
            if ports.GRPC_NODE_PORT in ports.node_ports() and ports.is_free(ports.GRPC_NODE_PORT):
                defaults |= {"grpcNodePort": str(ports.GRPC_NODE_PORT)}
        with ThreadPoolExecutor(1) as pool:
            data = pool.submit(data_set, platform.home)
            settings = stack.configure({"runtimeImage": platform.runtime_image}, defaults)
            stack.set_proxy(platform.pod_proxy(), settings.get("proxy"))
            data.result()
            is_lost = platform.brought_kubeconfig is None and platform.home.lost_cluster.exists()
            stack.up(refresh=is_lost)
            platform.home.lost_cluster.unlink(missing_ok=True)
            if platform.brought_kubeconfig is None:
                for problem in platform.cluster.node_port_problems():
                    say(problem)
            deployed = time.monotonic()
            # Beside the client: most of both is the start of a Python.
            table = pool.submit(stack.status)
            # A model of one's own answers other questions than which digit it is.
            is_example = (
                settings["codeDir"] == EXAMPLE
                and settings.get("deploy", "true").lower() == "true"
                and not settings.get("model")
            )
            truths, answers = (
                held_out.predict(variables, data_dir, DIGITS) if is_example else ([], [])
            )
            answered = time.monotonic()
    right = sum(answer == truth for answer, truth in zip(answers, truths, strict=True))
    if is_example:
        print("\nheld-out digit " + " ".join(f"{truth:>2}" for truth in truths))
        print("answer         " + " ".join(f"{answer:>2}" for answer in answers))
        print(f"               {right} of {len(truths)} right")
    print()
    print(table.result(), flush=True)
    say(f"pulumi up {deployed - begun:.1f} s, all answers after {answered - begun:.1f} s")
    print(_NEXT)
    if right * 2 < len(truths):
        raise LocalError("most answers are wrong.", "The log of the training Job may say why.")


def status(platform: Platform) -> None:
    """Show the parts of the platform and the stack's addresses."""
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
        for worker in platform.cluster.workers.all():
            state = "running" if worker.is_running() else "stopped"
            print(f"node {worker.node.name:<19} {state:<24} {worker.folder / 'logs'}")
        if not platform.cluster.is_running():
            print("\nthe cluster is stopped. `make up` starts it, with all that it kept.")
            return
        for problem in platform.cluster.node_port_problems():
            print(f"\n{problem}")
    _say_what_the_shell_names(platform)
    stack = Stack(platform.environment())
    if not stack.resources():
        print(f"\nthe stack '{stack.name}' is not deployed. `make up` deploys it.")
        return
    print()
    print(stack.status(), end="")


def env(platform: Platform) -> None:
    """Print the shell variables for `pulumi`, `kubectl` and the client."""
    if platform.brought_kubeconfig is None and not platform.cluster.kubeconfig.exists():
        raise LocalError(
            "there is no cluster here.", "`make up` makes one; or set KUBECONFIG to yours."
        )
    for name, value in platform.environment().items():
        # Pulumi would put it before the stack that a person selects in that shell.
        if name != "PULUMI_STACK":
            print(f"export {name}={shlex.quote(value)}")


def run(platform: Platform, words: Sequence[str]) -> None:
    """Run a command that asks the deployed stack, with the variables of `env`."""
    _say_what_the_shell_names(platform)
    if platform.brought_kubeconfig is None and not platform.cluster.is_running():
        raise LocalError("the cluster does not run.", "`make up` starts it and deploys the stack.")
    stack = Stack(platform.environment())
    if not stack.resources():
        raise LocalError(f"the stack '{stack.name}' is not deployed.", "`make up` deploys it.")
    os.execvpe(words[0], list(words), {**os.environ, **stack.variables})


def node(platform: Platform, name: str, act: str) -> None:
    """Cut one node beside the first off (`cut`, `join`), or its power (`kill`, `start`)."""
    if platform.brought_kubeconfig is not None or not platform.cluster.is_running():
        raise LocalError("no cluster of this machine runs.", "`NODES=3 make up` starts one.")
    with platform.locked(0):
        worker = platform.cluster.workers.named(name)
        if act == "start":
            platform.cluster.start_worker(name)
        elif not worker.is_running():
            raise LocalError(
                f"{name} does not run.", f"`python -m local node {name} start` starts it."
            )
        else:
            {"cut": worker.cut, "join": worker.join, "kill": worker.kill}[act]()
    say(f"{name}: {act}")


def destroy(platform: Platform) -> None:
    """Take the stack down with `pulumi destroy`."""
    _take_down(platform, asks=bool(platform.named_by_shell()), otherwise="")


def down(platform: Platform) -> None:
    """Take the stack down, with all that it keeps, and stop the embedded cluster."""
    if platform.brought_kubeconfig is None and platform.home.platform.exists():
        check_machine("down")
    _take_down(platform, asks=True, otherwise="`make stop` stops the cluster and keeps everything.")
    stop(platform)


def stop(platform: Platform) -> None:
    """Stop the embedded cluster, all its processes; it keeps everything for the next `up`."""
    if platform.brought_kubeconfig:
        say("the cluster is your own (KUBECONFIG), it is left as it is")
        return
    if os.geteuid() == 0:
        # Of an `up` that was killed while apt worked.
        packages.finish(platform.home.cache / "logs" / "packages.log")
    if not platform.home.platform.exists() and not platform.cluster.is_left_behind():
        say("nothing to stop: there is no cluster here")
        return
    check_machine("stop")
    with platform.locked(0):
        platform.cluster.stop()
    removes = f"{'sudo ' if behind_sudo() else ''}rm -r {shlex.quote(str(platform.home.root))}"
    say(
        "the cluster is stopped; `make up` starts it again, with all that it kept "
        f"(`{removes}` would remove that)"
    )


def _take_down(platform: Platform, *, asks: bool, otherwise: str) -> None:
    """Run `pulumi destroy` where there is something to destroy.

    Args:
        asks: whether a person has to say yes, if something may be lost that a training has made.
        otherwise: what else can be done, for those who say no.
    """
    if not platform.home.stacks.exists():
        say("nothing to destroy: no stack was ever made here")
        return
    stack = Stack(platform.environment())
    named = platform.named_by_shell()
    if not stack.resources():
        say(f"nothing to destroy: the stack '{stack.name}' is not deployed")
        return
    started = platform.brought_kubeconfig is None and not platform.cluster.is_running()
    if started:
        if not platform.cluster.kubeconfig.exists():
            raise LocalError(
                f"the stack '{stack.name}' is on another cluster: none was made here.",
                "Set KUBECONFIG to the file of its cluster.",
            )
        check_machine("down" if otherwise else "destroy")
        say("the cluster is started, to take the stack down that is on it")
        up(platform)
    try:
        if asks or started:
            found = contents.read(stack.variables, STORE_SECONDS if started else 0)
            if asks and (named or found.has_models()):
                confirm(_what_goes(stack, named, found), otherwise)
    except LocalError:
        if started:
            stop(platform)
        raise
    begun = time.monotonic()
    with platform.locked(0):
        stack.destroy()
    say(f"the stack is gone ({time.monotonic() - begun:.1f} s)")


def _what_goes(stack: Stack, named: str, found: contents.Contents) -> str:
    by_shell = f", which your shell names ({named})" if named else ""
    lines = [f"This deletes the stack '{stack.name}'{by_shell}, with:", *found.lines()]
    return "\n  ".join(lines)


def _say_what_root_has(platform: Platform) -> None:
    """Name a cluster in root's folder when `sudo` makes one in the person's."""
    root = Path("~root/.dlstack").expanduser()
    is_new = behind_sudo() and not platform.home.platform.exists()
    if is_new and (root / "platform").exists():
        say(f"root has a cluster in {root}: `sudo DLSTACK_HOME={root} make up` goes on with it")


def _say_what_the_shell_names(platform: Platform) -> None:
    if named := platform.named_by_shell():
        say(f"your shell names what this acts on: {named}")
