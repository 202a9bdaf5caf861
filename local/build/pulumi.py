"""Pulumi's command line, its Python language host and its Kubernetes plugin."""

import os
import shutil
import subprocess
from pathlib import Path

from ..console import say
from ..home import Home
from .on_path import usable
from .programs import PLATFORM_MODULE, Program, Programs

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
    "about 3 minutes",
)
PULUMI_PYTHON = Program(
    "pulumi-language-python",
    "pulumi-language-python",
    "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
)
# Sources of January 2026. The engine looks for just the version that the SDK asks for.
PULUMI_KUBERNETES = Program(
    "pulumi-resource-kubernetes",
    PLATFORM_MODULE,
    "./pulumi-resource-kubernetes",
    f"-X {_PLUGIN_VERSION}={DECLARED_PLUGIN[1]}",
    "about 5 minutes",
)
_HOST_SCRIPTS = (
    "python/cmd/pulumi-language-python-exec",
    "python/dist/pulumi-resource-pulumi-python",
)


def pulumi_path(home: Home, pulumi_home: str) -> str:
    """A PATH with `pulumi` and its Python language host, made if need be.

    What PATH has is used, unless it is too old. The Kubernetes plugin is put into Pulumi's own
    folder: of one that it finds on PATH each command warns.

    Args:
        pulumi_home: Pulumi's folder of plugins (PULUMI_HOME).
    """
    programs = Programs(home)
    folders: list[Path] = []
    pulumi = shutil.which(PULUMI.name)
    # Ours is there after `eval "$(make env)"`, and need not say its version.
    if pulumi is None or Path(pulumi).is_relative_to(home.cache):
        pulumi = None
    else:
        pulumi = usable(PULUMI.name, ("version",), OLDEST)
    if pulumi is None:
        folders.append(_command_line(programs))
        pulumi = str(folders[-1] / PULUMI.name)
    elif shutil.which(PULUMI_PYTHON.name) is None:
        folders.append(_language_host(programs))
    if shutil.which(PULUMI_KUBERNETES.name) is None:
        _install_plugin(programs, pulumi, Path(pulumi_home))
    return os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])


def _command_line(programs: Programs) -> Path:
    """The folder of `pulumi`, with the language host in it.

    Side by side they are one release to Pulumi; else it warns of a host found on PATH.
    """
    folder = programs.build(PULUMI).parent
    host = _language_host(programs)
    for name in (PULUMI_PYTHON.name, *(Path(script).name for script in _HOST_SCRIPTS)):
        if not (folder / name).exists():
            _link(folder / name, host / name)
    return folder


def _language_host(programs: Programs) -> Path:
    host = programs.build(PULUMI_PYTHON)
    if not all((host.parent / Path(script).name).exists() for script in _HOST_SCRIPTS):
        source = programs.module_folder(PULUMI_PYTHON, "github.com/pulumi/pulumi/sdk/v3")
        for script in _HOST_SCRIPTS:
            copy = host.parent / Path(script).name
            shutil.copyfile(source / script, copy)
            copy.chmod(0o755)
    return host.parent


def _install_plugin(programs: Programs, pulumi: str, pulumi_home: Path) -> None:
    """Have the plugin that the SDK asks for in Pulumi's folder: downloaded, or else built.

    The built one is a link into the cache. It stays until somebody replaces it by the release
    (`pulumi plugin install --reinstall`), so that no command tries the download again.
    """
    name, version = DECLARED_PLUGIN
    program = pulumi_home / "plugins" / f"resource-{name}-v{version}" / PULUMI_KUBERNETES.name
    built = programs.path(PULUMI_KUBERNETES)
    if program.exists() and (not program.is_symlink() or program.resolve() == built.resolve()):
        return
    if not program.is_symlink() and _download(pulumi, pulumi_home):
        return
    programs.build(PULUMI_KUBERNETES)
    program.parent.mkdir(parents=True, exist_ok=True)
    _link(program, built)


def _download(pulumi: str, pulumi_home: Path) -> bool:
    """Download the plugin that the SDK asks for; false when its release can't be reached."""
    name, version = DECLARED_PLUGIN
    say(f"downloading Pulumi's Kubernetes plugin {version}")
    try:
        subprocess.run(
            [pulumi, "plugin", "install", "resource", name, f"v{version}"],
            env={**os.environ, "PULUMI_HOME": str(pulumi_home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        say("it can't be downloaded here: one of January 2026, built from its sources, stands in")
        return False
    return True


def _link(link: Path, target: Path) -> None:
    """Make or replace a symbolic link in one step: commands may run side by side."""
    unfinished = link.with_name(f"{link.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(target)
    unfinished.replace(link)
