"""Runs pip for a virtual environment, and says of what it could not do why, and what helps."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.command_line import TrainingError

_OTHER_WAYS = (
    "Other ways: wheels in the code folder ('./wheels/NAME.whl' in requirements.txt), 'pip install "
    "--target=CODE_FOLDER NAME' for packages of Python only, or an image that has them "
    "(dlstack:image)."
)
_NO_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeoutError|NameResolutionError|Temporary failure in name|"
    r"ProxyError|ReadTimeoutError|Connection(?:Reset|Refused|Aborted)|Network is unreachable|"
    r"Max retries exceeded|SSLError|connection broken"
)
_RETRIES, _SECONDS = "2", "15"
_LAST_BYTES = 2000


class Pip:
    """pip, on behalf of the Python of a virtual environment.

    Args:
        python: of that environment.
        folder: in which it runs: relative paths in requirements are from there.
        variables: of its environment, beside the agent's own.
        cache: folder for what it downloads; None: its own.
    """

    def __init__(
        self, python: Path, folder: Path, variables: Mapping[str, str], cache: Path | None
    ) -> None:
        self._command = [sys.executable, "-m", "pip", "--python", str(python)]
        self._options = ["--retries", _RETRIES, "--timeout", _SECONDS]
        self._options += ["--cache-dir", str(cache)] if cache else []
        self._folder = folder
        self._environment = {
            **os.environ,
            **variables,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_PROGRESS_BAR": "off",
        }
        # Archives of ours are no place to look for packages.
        self._environment.pop("PYTHONPATH", None)

    def __call__(self, command: str, *words: str | Path, what: str) -> None:
        """Run a command of pip.

        Raises:
            TrainingError: it failed. `what` says what was to be done.
        """
        done = subprocess.run(
            [*self._command, command, *self._options, *map(str, words)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            raise TrainingError(f"{what}: {explain(done.stdout)}")


def explain(output: str) -> str:
    """Return what pip's output says of its failure, in one line, and what to do about it."""
    errors = [
        line.partition("ERROR: ")[2].strip() for line in output.splitlines() if "ERROR: " in line
    ]
    first = errors[0].rstrip(".") if errors else " ".join(output.split())[-300:]
    if "No module named pip" in output:
        return f"the image has no pip. {_OTHER_WAYS}"
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return (
            "the image does not trust the certificate of the package index, or of the proxy before "
            "it. Put the PEM file of its authority into the code folder, beside the list, and name "
            "it: 'pulumi config set --path dlstack:env.PIP_CERT FILE.pem'."
        )
    if "(constraint)" in output or "conflicting dependencies" in output:
        return _conflict(output, first)
    if "DO NOT MATCH THE HASHES" in output or "Hashes are required" in output:
        detail = re.search(r"^\s*(\S+(?:==\S+)?) .*--hash=|^\s+(\S+==\S+|\S+) from ", output, re.M)
        name = next((group for group in detail.groups() if group), "") if detail else ""
        return (
            f"{first.split('.')[0]}{f' ({name})' if name else ''}. Write the hashes of all "
            "packages, also of those that others need ('pip-compile --generate-hashes'), or none."
        )
    if "Could not find a version" in output or "No matching distribution" in output:
        if _NO_NETWORK.search(output):
            return _no_network()
        if "(from versions: none)" in output:
            return (
                f"{first}: no such package is at the index, or none for this Python and platform. "
                "Correct the name, or set the index: 'pulumi config set --path "
                f"dlstack:env.PIP_INDEX_URL URL'. {_OTHER_WAYS}"
            )
        return f"{first}. Ask for one of these versions."
    if "Cannot find command 'git'" in output:
        return f"the image has no git, which a package from a repository needs. {_OTHER_WAYS}"
    if re.search(r"metadata-generation-failed|Failed building wheel|subprocess-exited", output):
        failed = re.search(r"Failed building wheel for (\S+)", output)
        name = failed[1] if failed else "a package"
        tool = re.search(r"(?:command|program) '?(\S*(?:gcc|cc|g\+\+|cmake|cargo|rustc))'?", output)
        missing = f" ('{tool[1]}' is missing)" if tool else ""
        return (
            f"{name} has no wheel for this Python and platform, and can't be built in the "
            f"image{missing}. Ask for a version that has one, or build it elsewhere ('pip wheel "
            f"NAME'). {_OTHER_WAYS}"
        )
    if _NO_NETWORK.search(output):
        return _no_network()
    return f"{first}. The end of what pip says: {output[-_LAST_BYTES:].strip()}"


def _no_network() -> str:
    return (
        "the package index can't be reached. Set one that pods reach ('pulumi config set --path "
        f"dlstack:env.PIP_INDEX_URL URL'), or dlstack:proxy. {_OTHER_WAYS}"
    )


def _conflict(output: str, first: str) -> str:
    asked = [
        line.strip()
        for line in output.splitlines()
        if re.match(r"\s+(The user requested|\S+ .* depends on)", line)
    ]
    ours = next(
        (line.rpartition("(constraint) ")[2] for line in asked if "(constraint)" in line), ""
    )
    others = "; ".join(
        line.replace("The user requested ", "") for line in asked if "(constraint)" not in line
    )
    if not ours:
        return f"{first} ({others}). Ask for versions that go together."
    return (
        f"it contradicts the image, whose TensorFlow needs {ours}: {others or first}. Leave the "
        "version out, or ask for one that goes with it; or set dlstack:image to an image of yours."
    )


def install_wheels(pip: Pip, wheels: Sequence[Path], what: str) -> None:
    """Install wheels as they are: nothing else is looked for."""
    pip("install", "--no-index", "--no-deps", "--quiet", *wheels, what=what)
