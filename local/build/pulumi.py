"""Pulumi's command line, its Python language host and its Kubernetes plugin."""

import os
import shutil
from pathlib import Path

from ..home import Home
from .on_path import usable
from .programs import PLATFORM_MODULE, Program, Programs, programs_of

_CLI_VERSION = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_PLUGIN_VERSION = "github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version"

OLDEST = (3, 166)
"""Version of `pulumi` that has all flags which are used here (`refresh --exclude`)."""
DECLARED_PLUGIN = ("kubernetes", "4.34.2")
"""Plugin and version that `pulumi_kubernetes` of requirements.txt asks for."""

# The newest whose packages the Kubernetes plugin's sources compile with.
PULUMI = Program(
    "pulumi",
    PLATFORM_MODULE,
    "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    f"-X {_CLI_VERSION}=v3.246.0",
    "about 2 minutes",
    releases=("pulumi",),
    trimmed=True,
)
PULUMI_PYTHON = Program(
    "pulumi-language-python",
    "pulumi-language-python",
    "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
    releases=("pulumi",),
)
# Sources of January 2026. The engine looks for just the version that the SDK asks for.
PULUMI_KUBERNETES = Program(
    "pulumi-resource-kubernetes",
    PLATFORM_MODULE,
    "./pulumi-resource-kubernetes",
    f"-X {_PLUGIN_VERSION}={DECLARED_PLUGIN[1]}",
    "about 2 minutes",
    releases=("pulumi-resource-kubernetes",),
    trimmed=True,
)
_HOST_SCRIPTS = (
    "python/cmd/pulumi-language-python-exec",
    "python/dist/pulumi-resource-pulumi-python",
)


def needed(home: Home, pulumi_home: Path) -> list[Program]:
    """The programs that PATH and Pulumi's own folder lack, in the order in which they are built.

    Args:
        pulumi_home: Pulumi's folder of plugins (PULUMI_HOME).
    """
    programs: list[Program] = []
    pulumi = shutil.which(PULUMI.name)
    # Ours is there after `eval "$(make env)"`, and need not say its version.
    if pulumi is None or Path(pulumi).is_relative_to(home.cache):
        pulumi = None
    else:
        pulumi = usable(PULUMI.name, ("version",), OLDEST)
    if pulumi is None:
        programs += [PULUMI, PULUMI_PYTHON]
    elif shutil.which(PULUMI_PYTHON.name) is None:
        programs.append(PULUMI_PYTHON)
    installed = _plugin(pulumi_home)
    # A link is ours. Else somebody has put the release there, by `pulumi plugin install`.
    if shutil.which(PULUMI_KUBERNETES.name) is None and (
        installed.is_symlink() or not installed.exists()
    ):
        programs.append(PULUMI_KUBERNETES)
    return programs


def pulumi_path(home: Home, pulumi_home: str) -> str:
    """A PATH with `pulumi` and its Python language host, made if need be.

    What PATH has is used, unless it is too old. The Kubernetes plugin is put into Pulumi's own
    folder: of one that it finds on PATH each command warns.

    Args:
        pulumi_home: Pulumi's folder of plugins (PULUMI_HOME).
    """
    programs = programs_of(home)
    wanted = needed(home, Path(pulumi_home))
    programs.make(*wanted)
    folders: list[Path] = []
    if PULUMI in wanted:
        folders.append(_command_line(programs))
    elif PULUMI_PYTHON in wanted:
        folders.append(_language_host(programs))
    if PULUMI_KUBERNETES in wanted:
        _install_plugin(programs, Path(pulumi_home))
    return os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])


def _command_line(programs: Programs) -> Path:
    """The folder of `pulumi`, with the language host in it.

    Side by side they are one release to Pulumi; else it warns of a host found on PATH.
    """
    folder = programs.path(PULUMI).parent
    if folder == programs.path(PULUMI_PYTHON).parent:
        return folder
    host = _language_host(programs)
    for name in (PULUMI_PYTHON.name, *(Path(script).name for script in _HOST_SCRIPTS)):
        if not (folder / name).exists():
            # By a way that stays right when the cache is reached by another.
            _link(folder / name, Path(os.path.relpath(host / name, folder)))
    return folder


def _language_host(programs: Programs) -> Path:
    folder = programs.path(PULUMI_PYTHON).parent
    if not all((folder / Path(script).name).exists() for script in _HOST_SCRIPTS):
        source = programs.module_folder(PULUMI_PYTHON, "github.com/pulumi/pulumi/sdk/v3")
        for script in _HOST_SCRIPTS:
            copy = folder / Path(script).name
            shutil.copyfile(source / script, copy)
            copy.chmod(0o755)
    return folder


def _plugin(pulumi_home: Path) -> Path:
    """Where Pulumi looks for the plugin that the SDK asks for."""
    name, version = DECLARED_PLUGIN
    return pulumi_home / "plugins" / f"resource-{name}-v{version}" / PULUMI_KUBERNETES.name


def _install_plugin(programs: Programs, pulumi_home: Path) -> None:
    """Have the plugin in Pulumi's folder, as a link into the cache."""
    installed, made = _plugin(pulumi_home), programs.path(PULUMI_KUBERNETES)
    if installed.resolve() != made.resolve():
        installed.parent.mkdir(parents=True, exist_ok=True)
        _link(installed, made)


def _link(link: Path, target: Path) -> None:
    """Make or replace a symbolic link in one step: commands may run side by side."""
    unfinished = link.with_name(f"{link.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(target)
    unfinished.replace(link)
