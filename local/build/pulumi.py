"""Pulumi's command line, its Python language host and its Kubernetes plugin."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from ..console import say
from ..home import Home
from .programs import Program, Programs

_SDK_VERSION = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_PLUGIN = "github.com/pulumi/pulumi-kubernetes/provider/v2"

PULUMI = Program(
    "pulumi",
    "pulumi",
    "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    f"-X {_SDK_VERSION}=v3.259.0",
    "about 4 minutes",
)
PULUMI_PYTHON = Program(
    "pulumi-language-python",
    "pulumi-language-python",
    "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
)
# The version is the SDK's (see DECLARED_PLUGIN): the engine asks the plugin for just that one.
PULUMI_KUBERNETES = Program(
    "pulumi-resource-kubernetes",
    "pulumi-kubernetes",
    f"{_PLUGIN}/cmd/pulumi-resource-kubernetes",
    f"-X {_PLUGIN}/pkg/version.Version=4.34.2",
)
DECLARED_PLUGIN = ("kubernetes", "4.34.2")
"""Plugin and version that `pulumi_kubernetes` of requirements.txt asks for."""


def pulumi_path(home: Home, pulumi_home: str) -> str:
    """A PATH with `pulumi`, its Python language host and its Kubernetes plugin, made if need be.

    What PATH has is used. Where the release of the Kubernetes plugin can't be downloaded, the last
    one that is published as a Go module takes its place: it is much older.

    Args:
        pulumi_home: Pulumi's folder of plugins (PULUMI_HOME).
    """
    programs = Programs(home)
    folders: list[Path] = []
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        folders.append(programs.build(PULUMI).parent)
        pulumi = str(folders[-1] / "pulumi")
    if shutil.which("pulumi-language-python") is None:
        folders.append(_language_host(programs))
    if shutil.which("pulumi-resource-kubernetes") is None:
        # Once the stand-in is built no command tries the download again; `pulumi plugin install`
        # by hand brings the current plugin, which is then listed and wins.
        built = programs.path(PULUMI_KUBERNETES)
        installed = _is_installed(pulumi, pulumi_home)
        if not installed and (built.exists() or not _download(pulumi, pulumi_home)):
            folders.append(programs.build(PULUMI_KUBERNETES).parent)
    return os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])


def _language_host(programs: Programs) -> Path:
    host = programs.build(PULUMI_PYTHON)
    scripts = (
        "python/cmd/pulumi-language-python-exec",
        "python/dist/pulumi-resource-pulumi-python",
    )
    if not all((host.parent / Path(script).name).exists() for script in scripts):
        source = programs.module_folder(PULUMI_PYTHON, "github.com/pulumi/pulumi/sdk/v3")
        for script in scripts:
            copy = host.parent / Path(script).name
            shutil.copyfile(source / script, copy)
            copy.chmod(0o755)
    return host.parent


def _is_installed(pulumi: str, pulumi_home: str) -> bool:
    """Whether the plugin that the SDK asks for is in Pulumi's own folder."""
    name, version = DECLARED_PLUGIN
    listed = subprocess.run(
        [pulumi, "plugin", "ls", "--json"],
        env={**os.environ, "PULUMI_HOME": pulumi_home},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return listed.returncode == 0 and any(
        plugin["name"] == name and plugin.get("version") == version
        for plugin in json.loads(listed.stdout)
    )


def _download(pulumi: str, pulumi_home: str) -> bool:
    """Download the plugin that the SDK asks for; false when its release can't be reached."""
    name, version = DECLARED_PLUGIN
    say(f"downloading Pulumi's Kubernetes plugin {version}")
    try:
        subprocess.run(
            [pulumi, "plugin", "install", "resource", name, f"v{version}"],
            env={**os.environ, "PULUMI_HOME": pulumi_home},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        say("it can't be downloaded here: v2.0.0, the last one that is a Go module, stands in")
        return False
    return True
