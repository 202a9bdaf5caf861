"""What the image has already: packages that stay as they are, and which others may stand on."""

import hashlib
import json
import platform
import re
import site
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TENSORFLOW = "tensorflow"
_VARIANTS = (_TENSORFLOW, "tensorflow-cpu", "tensorflow-rocm", "tensorflow-aarch64", "tf-nightly")


def identity() -> dict[str, object]:
    """Return what decides which wheels are needed here: Python, platform and packages."""
    installed = sorted(f"{name}=={version}" for name, version in _installed().items())
    return {
        "python": sysconfig.get_config_var("SOABI") or sys.version,
        "platform": [sysconfig.get_platform(), *platform.libc_ver()],
        "below": hashlib.sha256(json.dumps(installed).encode()).hexdigest(),
    }


def kept() -> dict[str, str]:
    """Return name -> version of TensorFlow and all that it stands on. Others may be replaced.

    `tensorflow` is among them under whatever name it was installed.
    """
    installed = _installed()
    variant = next((name for name in _VARIANTS if name in installed), None)
    if variant is None:
        return {}
    found: dict[str, str] = {}
    left = [variant]
    while left:
        name = left.pop()
        if name not in found and name in installed:
            found[name] = installed[name]
            left += _needs(name)
    return {**found, _TENSORFLOW: installed[variant]}


def environment(folder: Path) -> Path:
    """Make a virtual environment with the image's packages below it; return its Python."""
    venv.EnvBuilder(system_site_packages=True, symlinks=True, with_pip=False).create(folder)
    python = folder / "bin" / "python"
    packages = Path(
        sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    )
    if sys.prefix != sys.base_prefix:
        # This is in an environment of its own: what that has is below as well.
        (packages / "below.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    stays = kept()
    if stays and _TENSORFLOW not in _installed():
        # `tensorflow-cpu` and its like are the same modules under another name. Without this, pip
        # would bring a second TensorFlow for all that asks for `tensorflow`.
        folder = packages / f"{_TENSORFLOW}-{stays[_TENSORFLOW]}.dist-info"
        folder.mkdir()
        version = stays[_TENSORFLOW]
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {_TENSORFLOW}\nVersion: {version}\n"
        )
        (folder / "INSTALLER").write_text("dlstack\n")
        (folder / "RECORD").write_text("")
    return python


def _installed() -> dict[str, str]:
    found: dict[str, str] = {}
    for one in metadata.distributions():
        # The first on the path counts, as for Python. A broken one has no name.
        if name := one.metadata["Name"]:
            found.setdefault(_canonical(name), one.version)
    return found


def _needs(name: str) -> Iterator[str]:
    for line in metadata.requires(name) or ():
        if "extra ==" not in line and (found := _NAME.match(line)):
            yield _canonical(found[0])


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
