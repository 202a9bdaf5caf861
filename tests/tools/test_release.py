"""`make release`, in repositories with the files of this one."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = "9.8.7"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"},
    **{
        f"GIT_{who}_{what}": "a@example"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def git(repository: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *words], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of these files, as they are in the working tree, at a version's commit."""
    folder = tmp_path_factory.mktemp("release") / "repository"
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            # Configurations of other tests' stacks come and go.
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(ROOT / name, folder / name)
    (folder / "VERSION").write_text(f"{VERSION}\n")
    changelog = (folder / "CHANGELOG.md").read_text()
    section = f"## {VERSION} - 2026-11-26\n\n### Added\n\n- A way out.\n\n"
    (folder / "CHANGELOG.md").write_text(re.sub(r"(?m)^(?=## )", section, changelog, count=1))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=A version")
    return folder


def make(repository: Path, dist: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tools.release", f"--dist={dist}"],
        cwd=repository,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
# pip downloads what builds the wheel, twice, and what the client needs.
@pytest.mark.timeout(600)
def test_the_same_commit_makes_the_same_release(released: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for dist in (one, two):
        done = make(released, dist)
        assert done.returncode == 0, done.stderr
    assert {file.name for file in one.iterdir()} == {
        f"dlstack-{VERSION}.tar.gz",
        f"dlstack-runtime-{VERSION}.tar.gz",
        f"dlstack_client-{VERSION}-py3-none-any.whl",
        "NOTES.md",
        "SHA256SUMS",
    }
    assert (one / "SHA256SUMS").read_text() == (two / "SHA256SUMS").read_text()
    for line in (one / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((one / name).read_bytes()).hexdigest() == digest
    notes = (one / "NOTES.md").read_text()
    assert notes.startswith(f"# dlstack {VERSION}\n\n### Added\n\n- A way out.\n\n## What is here")

    with tarfile.open(one / f"dlstack-{VERSION}.tar.gz") as archive:
        assert set(git(released, "ls-files").splitlines()) <= {
            name.removeprefix(f"dlstack-{VERSION}/") for name in archive.getnames()
        }
        archive.extractall(tmp_path, filter="data")
    for package in ("infra", "local", "client"):
        assert say_version([sys.executable, "-m", package], tmp_path / f"dlstack-{VERSION}")
    with tarfile.open(one / f"dlstack-runtime-{VERSION}.tar.gz") as archive:
        recipe = archive.extractfile(f"dlstack-runtime-{VERSION}/local/build/image/Containerfile")
        text = recipe.read().decode() if recipe else ""
        assert f'image.version="{VERSION}"' in text
        names = {name.removeprefix(f"dlstack-runtime-{VERSION}/") for name in archive.getnames()}
        for copied in re.findall(r"^COPY ([\w/]+)/ ", text, re.M):
            assert copied in names
        assert {"local/build/image/requirements.txt", "serving/frontend/go.mod"} < names

    venv.create(tmp_path / "venv", with_pip=True)
    pip = [tmp_path / "venv/bin/pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *one.glob("*.whl")], check=True)
    assert say_version([tmp_path / "venv/bin/dlstack"], tmp_path)


def say_version(command: list[str | Path], folder: Path) -> bool:
    done = subprocess.run([*command, "--version"], cwd=folder, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"dlstack {VERSION}\n", "")
    return True


@pytest.mark.slow
def test_what_is_not_committed_is_refused(released: Path, tmp_path: Path) -> None:
    for change in ("new.py", "README.md"):
        file = released / change
        before = file.read_text() if file.exists() else None
        file.write_text("changed")
        done = make(released, tmp_path)
        assert done.returncode == 1
        assert f"the working tree differs from the commit: {change}. Commit" in done.stderr
        file.unlink() if before is None else file.write_text(before)


@pytest.mark.slow
def test_a_version_without_a_section_in_the_changelog_is_refused(
    released: Path, tmp_path: Path
) -> None:
    (released / "VERSION").write_text("9.8.8\n")
    done = make(released, tmp_path)
    git(released, "checkout", "VERSION")
    assert done.returncode == 1
    assert "CHANGELOG.md has no section '## 9.8.8 - YYYY-MM-DD'" in done.stderr
