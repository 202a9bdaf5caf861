"""What `requirements.txt` names, and what pip says of it: nothing is installed here."""

from pathlib import Path

import pytest

from training.agent.packages.pip import explain
from training.agent.packages.requirement_files import Requirements
from training.command_line import TrainingError


def digest(folder: Path, **files: bytes) -> str:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return Requirements.of(folder / "requirements.txt").content


def test_what_a_list_names_tells_it_from_another(tmp_path: Path) -> None:
    seen = {
        digest(tmp_path, requirements__txt=b"-r more.txt\n", more__txt=b"a\n"),
        digest(tmp_path, more__txt=b"b\n"),
        digest(tmp_path, more__txt=b"./x.whl\n", x__whl=b"1"),
        digest(tmp_path, x__whl=b"2"),
    }
    assert len(seen) == 4
    assert digest(tmp_path, requirements__txt=b"-r more.txt  # why\n\n") in seen


def test_an_address_may_be_longer_than_any_path(tmp_path: Path) -> None:
    """Symptom otherwise: a signed address, and the job ends with a traceback."""
    signed = f"one @ https://store.example/one-1.0-py3-none-any.whl?token={'a' * 5000}\n"
    assert digest(tmp_path, requirements__txt=signed.encode())


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"'more.txt', .* can't be read: No such file"):
        digest(tmp_path, requirements__txt=b"--requirement=more.txt\n")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("/usr/bin/python3: No module named pip", "the image has no pip"),
        ("ERROR: Error [Errno 2] x\nERROR: Cannot find command 'git'", "the image has no git"),
        (
            "WARNING: Retrying: SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify "
            "failed')\nERROR: Could not find a version that satisfies a (from versions: none)",
            "Put the PEM file of its authority into the code folder",
        ),
        (
            "error: command 'gcc' failed: No file\nERROR: Failed building wheel for some-thing",
            "some-thing has no wheel for this Python and platform, and can't be built in the image "
            "('gcc' is missing)",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement a==9 (from versions: "
            "1.0, 2.0)\nERROR: No matching distribution found for a==9",
            "(from versions: 1.0, 2.0). Ask for one of these versions.",
        ),
    ],
)
def test_pip_is_explained(output: str, said: str) -> None:
    assert said in explain(output)
