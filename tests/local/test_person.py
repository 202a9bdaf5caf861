"""`sudo make …`: what belongs to whom afterwards. With root, a real second user and a checkout of
that user; of a cluster only its files.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.home import REPOSITORY
from tests.copies import copy_part
from tests.local import fake_pulumi

NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
PACKAGES = sysconfig.get_path("purelib")


def interpreter() -> str | None:
    """A Python that the other user may run, with the packages of this one."""
    for python in (sys.executable, "/usr/bin/python3"):
        words = [python, "-c", "import cryptography, PIL.Image, yaml"]
        environment = {"PYTHONPATH": PACKAGES}
        try:
            done = subprocess.run(words, env=environment, capture_output=True, **AS_NOBODY)
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def python() -> str:
    found = interpreter()
    if found is None:
        pytest.skip("no Python here can be run by another user")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all users may look into, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="dlstack-person-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def checkout(folder: Path) -> Path:
    copy_part("local", folder / "checkout" / "local")
    for name in ("Pulumi.yaml", "VERSION"):
        shutil.copy(REPOSITORY / name, folder / "checkout")
    give(folder / "checkout")
    return folder / "checkout"


def give(path: Path) -> None:
    for one in (path, *path.rglob("*")):
        os.chown(one, NOBODY, NOBODY)


@pytest.fixture
def as_sudo(folder, checkout, python):
    """Runs Python code, or `python -m local WORDS`, as `sudo` would for that user."""
    programs = folder / "programs"
    fake_pulumi.install(programs, resources=1)
    for name in fake_pulumi.PROGRAMS:
        script = (programs / name).read_text()
        (programs / name).write_text(script.replace(sys.executable, python, 1))
    give(programs)

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, "-B", *words],
            cwd=checkout,
            env={
                "PATH": f"{programs}:/usr/bin:/bin",
                "HOME": "/root",
                "PYTHONPATH": PACKAGES,
                "DLSTACK_HOME": str(folder / "home"),
                "SUDO_UID": str(NOBODY),
                "SUDO_GID": str(NOBODY),
                "SUDO_USER": "nobody",
                **environment,
            },
            capture_output=True,
            text=True,
        )

    return run


def owners(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_uid for path in root.rglob("*")}


def test_a_command_that_needs_no_root_gives_it_up(folder, as_sudo):
    (folder / "config").write_text("{}")
    shows = "echo $(id -u) $(id -g) $HOME $USER; touch written"
    (folder / "home").mkdir()
    give(folder / "home")
    done = as_sudo(
        *("-m", "local", "run", "--", "sh", "-c", shows), KUBECONFIG=str(folder / "config")
    )
    assert done.stdout.split() == [str(NOBODY), str(NOBODY), "/nonexistent", "nobody"], done.stderr
    assert set(owners(folder / "home").values()) == {NOBODY}
    assert (folder / "checkout" / "written").stat().st_uid == NOBODY


UP = """
from local.home import Home, write_private
home = Home.from_environment()
home.make_room(0)
with home.locked():
    (home.cache / "program").mkdir()
    (home.cache / "program" / "program").write_text("")
    (home.cache / "go" / "build").mkdir(parents=True)
    (home.cache / "go" / "build" / "object").write_text("")
    (home.cache / "link").symlink_to("/etc/passwd")
    for name in ("pki/admin.kubeconfig", "pki/admin.key", "pki/ca.key", "pki/ca.crt", "etcd/db"):
        write_private(home.platform / name, b"")
    for name in ("bin", "pids"):
        (home.platform / name).mkdir()
    {more}
"""


@pytest.mark.parametrize(
    "more", ["pass", "(home.cache / 'logs' / 'kubernetes.log').write_text('')"]
)
def test_what_root_made_is_the_persons_but_for_the_clusters_own(folder, as_sudo, more):
    done = as_sudo("-c", UP.format(more=more))
    assert done.returncode == 0, done.stderr
    found = owners(folder / "home")
    roots = {"platform/etcd", "platform/etcd/db", "platform/pki", "platform/pki/ca.key"}
    roots |= {"platform/pki/ca.crt", "platform/pids"}
    if more == "pass":  # Nothing was compiled: Go's many files are not gone through.
        roots |= {"cache/go/build", "cache/go/build/object"}
    assert {name for name, uid in found.items() if uid == 0} == roots
    assert Path("/etc/passwd").stat().st_uid == 0
    platform = folder / "home" / "platform"
    assert (folder / "home").stat().st_uid == NOBODY
    assert (platform / "pki" / "admin.kubeconfig").stat().st_mode & 0o777 == 0o600
    assert (platform / "pki" / "ca.crt").stat().st_mode & 0o777 == 0o644
    assert (platform / "pki" / "ca.key").stat().st_mode & 0o777 == 0o600
    looks = ["cat", str(platform / "pki" / "admin.key")]
    assert subprocess.run(looks, **AS_NOBODY).returncode == 0


ASKS = """
from local.home import Home
from local.stack.stack import Stack, environment
home = Home.from_environment()
home.make_room(0)
stack = Stack(environment(home, "none"))
assert stack.exists()
stack.destroy()
"""


def test_pulumi_runs_as_the_person_also_below_root(folder, as_sudo):
    """Symptom otherwise: after `sudo make destroy` the state is root's, and nobody else's `make up`
    can read it.
    """
    done = as_sudo("-c", ASKS)
    assert done.returncode == 0, done.stderr
    assert (folder / "programs" / "calls").stat().st_uid == NOBODY
    assert set(owners(folder / "home" / "pulumi").values()) == {NOBODY}
    assert (folder / "home" / "pulumi").stat().st_mode & 0o777 == 0o700


def test_root_in_its_own_checkout_works_for_itself(folder, checkout, as_sudo):
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 0, 0)
    done = as_sudo("-c", UP.format(more="pass"))
    assert done.returncode == 0, done.stderr
    assert set(owners(folder / "home").values()) == {0}


def test_the_folder_is_in_the_persons_home(as_sudo):
    done = as_sudo(
        "-c", "from local.home import Home; print(Home.from_environment().root)", DLSTACK_HOME=""
    )
    assert done.stdout.strip() == "/nonexistent/.dlstack"


def test_files_of_somebody_else_are_named(folder, checkout, python):
    (folder / "home" / "pulumi").mkdir(parents=True, mode=0o700)
    (folder / "config").write_text("{}")
    done = subprocess.run(
        [python, "-B", "-m", "local", "env"],
        cwd=checkout,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "PYTHONPATH": PACKAGES,
            "DLSTACK_HOME": str(folder / "home"),
            "KUBECONFIG": str(folder / "config"),
        },
        capture_output=True,
        text=True,
        **AS_NOBODY,
    )
    assert done.returncode == 1
    folder = folder / "home" / "pulumi"
    assert f"{folder}/passphrase is in {folder}, root's, and this user may not" in done.stderr
    assert "Traceback" not in done.stderr
