"""Where Pulumi finds its parts: with what was built, no command warns of a program on PATH.

The programs are scripts here. That the real ones can be built and run is for the tests on a real
cluster.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from local.build.programs import Program, Programs, programs_of
from local.build.pulumi import PULUMI, PULUMI_KUBERNETES, PULUMI_PYTHON, pulumi_path
from local.build.releases import VARIABLE
from local.home import Home

from .releases_server import archive, serving

PLUGIN = "plugins/resource-kubernetes-v4.34.2/pulumi-resource-kubernetes"


@pytest.fixture
def pulumi_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Pulumi, where no release is used."""
    sources = tmp_path / "sources"
    for script in ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python"):
        (sources / "python" / script).parent.mkdir(parents=True)
        (sources / "python" / script).write_text("#!/bin/sh\n")

    def build(self: Programs, programs: Sequence[Program]) -> None:
        for program in programs:
            target = self.path(program)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("#!/bin/sh\nexit 1\n")
            target.chmod(0o755)

    monkeypatch.setenv(VARIABLE, "none")
    monkeypatch.setattr(Programs, "_build_together", build)
    monkeypatch.setattr(Programs, "module_folder", lambda *_: sources)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    (tmp_path / "bin").mkdir()
    return tmp_path / "pulumi-home"


@pytest.fixture(autouse=True)
def no_shared_programs() -> Iterator[None]:
    yield
    programs_of.cache_clear()


def paths(tmp_path: Path, pulumi_home: Path) -> list[Path]:
    return [Path(folder) for folder in pulumi_path(Home(tmp_path), str(pulumi_home)).split(":")]


def test_the_language_host_lies_beside_pulumi(tmp_path, pulumi_home):
    """Else each command says "using pulumi-language-python from $PATH"."""
    first = paths(tmp_path, pulumi_home)[0]
    assert first == Programs(Home(tmp_path)).path(PULUMI).parent
    for name in (
        PULUMI_PYTHON.name,
        "pulumi-language-python-exec",
        "pulumi-resource-pulumi-python",
    ):
        assert os.access(first / name, os.X_OK)


def test_the_built_plugin_lies_in_pulumis_own_folder_and_not_on_path(tmp_path, pulumi_home):
    folders = paths(tmp_path, pulumi_home)
    assert (pulumi_home / PLUGIN).resolve() == Programs(Home(tmp_path)).path(PULUMI_KUBERNETES)
    assert not any((folder / PULUMI_KUBERNETES.name).exists() for folder in folders)


def test_a_plugin_built_from_other_sources_gives_way(tmp_path, pulumi_home):
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\n")
    (pulumi_home / PLUGIN).parent.mkdir(parents=True)
    for target in (other, tmp_path / "removed"):
        (pulumi_home / PLUGIN).unlink(missing_ok=True)
        (pulumi_home / PLUGIN).symlink_to(target)
        paths(tmp_path, pulumi_home)
        assert (pulumi_home / PLUGIN).resolve() == Programs(Home(tmp_path)).path(PULUMI_KUBERNETES)


def test_a_downloaded_plugin_stays(tmp_path, pulumi_home):
    (pulumi_home / PLUGIN).parent.mkdir(parents=True)
    (pulumi_home / PLUGIN).write_text("the release")
    paths(tmp_path, pulumi_home)
    assert (pulumi_home / PLUGIN).read_text() == "the release"


def test_a_pulumi_on_path_that_is_too_old_stays_behind_ours(tmp_path, pulumi_home, capsys):
    old = tmp_path / "bin" / "pulumi"
    old.write_text("#!/bin/sh\necho v3.30.0\n")
    old.chmod(0o755)
    assert paths(tmp_path, pulumi_home)[0] == Programs(Home(tmp_path)).path(PULUMI).parent
    assert f"not using {old}: it is 3.30.0" in capsys.readouterr().err


def test_a_plugin_on_path_is_used(tmp_path, pulumi_home):
    found = tmp_path / "bin" / PULUMI_KUBERNETES.name
    found.write_text("#!/bin/sh\n")
    found.chmod(0o755)
    paths(tmp_path, pulumi_home)
    assert not (pulumi_home / PLUGIN).exists()


def test_a_release_of_pulumi_is_used_as_it_is(tmp_path, pulumi_home, monkeypatch):
    """The language host is the one beside it."""
    host = (PULUMI_PYTHON.name, "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
    programs = ("pulumi", *host)
    with serving() as mirror:
        mirror.files["pulumi.tgz"] = archive({f"pulumi/{name}": b"#!/bin/sh" for name in programs})
        mirror.files["plugin.tgz"] = archive({PULUMI_KUBERNETES.name: b"#!/bin/sh"})
        pins = mirror.write_pins(
            tmp_path / "pins.json",
            {
                "pulumi": ("pulumi.tgz", {name: f"pulumi/{name}" for name in programs}),
                PULUMI_KUBERNETES.name: (
                    "plugin.tgz",
                    {PULUMI_KUBERNETES.name: PULUMI_KUBERNETES.name},
                ),
            },
        )
        monkeypatch.setenv(VARIABLE, str(pins))
        first = paths(tmp_path, pulumi_home)[0]
    assert sorted(path.name for path in first.iterdir()) == sorted(programs)
    assert first.name.startswith("release-pulumi-")
    assert (pulumi_home / PLUGIN).resolve().parent.name.startswith("release-pulumi-resource")
    assert paths(tmp_path, pulumi_home)[0] == first
