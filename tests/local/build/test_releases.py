"""Official releases from a mirror on this machine: what is used, what is refused, what is built.

That a cluster runs on them is for `benchmarks.first_up`.
"""

import json
import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.build import downloads, releases
from local.build.programs import COREDNS, KUBERNETES, Program, Programs
from local.build.pulumi import PULUMI, PULUMI_PYTHON
from local.build.releases import OFFICIAL, VARIABLE, Releases
from local.console import LocalError
from local.home import REPOSITORY, Home
from tests.ports import held_port

from .releases_server import SILENT_SECONDS, Mirror, archive, serving

ETCD = ("etcd.tar.gz", {"etcd": "etcd-v*/etcd"})
CONTROL_PLANE = ("kubernetes.tar.gz", {"kubelet": "kubernetes/server/bin/kubelet"})


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving() as running:
        running.files = {
            "etcd.tar.gz": archive(
                {"etcd-v1-linux/README": b"-", "etcd-v1-linux/etcd": b"the etcd"}
            ),
            "kubernetes.tar.gz": archive(
                {"./kubernetes/server/bin/kubelet": b"x" * 3_000_000, "kubernetes/LICENSES": b"-"}
            ),
        }
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def use(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **releases: tuple) -> None:
    pins = mirror.write_pins(tmp_path / "pins.json", releases)
    monkeypatch.setenv(VARIABLE, str(pins))


def left_in(home: Home) -> list[str]:
    return sorted(path.name for path in home.cache.glob("*")) if home.cache.exists() else []


def test_a_release_with_the_right_checksum_is_unpacked(mirror, home, tmp_path, monkeypatch):
    use(mirror, tmp_path, monkeypatch, etcd=ETCD, kubernetes=CONTROL_PLANE)
    releases = Releases(home)
    assert releases.folder("etcd") is None
    assert releases.begin(["etcd", "kubernetes"]) == {"etcd", "kubernetes"}
    assert releases.wait("etcd") and releases.wait("kubernetes")
    assert releases.program("etcd").read_bytes() == b"the etcd"
    assert os.access(releases.program("kubelet"), os.X_OK)
    assert len(left_in(home)) == 2 and all(n.startswith("release-") for n in left_in(home))
    assert Releases(home).begin(["etcd"]) == {"etcd"}
    assert sorted(mirror.asked) == ["etcd.tar.gz", "kubernetes.tar.gz"]


def test_a_wrong_checksum_is_an_error_and_nothing_of_it_is_kept(
    mirror, home, tmp_path, monkeypatch
):
    use(mirror, tmp_path, monkeypatch, etcd=ETCD)
    expected = json.loads((tmp_path / "pins.json").read_text())
    mirror.files["etcd.tar.gz"] = archive({"etcd-v1-linux/etcd": b"another one"})
    releases = Releases(home)
    releases.begin(["etcd"])
    with pytest.raises(LocalError) as error:
        releases.wait("etcd")
    assert f"{mirror.address}/etcd.tar.gz is not what it should be" in str(error.value)
    checksum = next(iter(expected["etcd"]["archives"].values()))["sha256"]
    assert re.search(rf"its sha256 is [0-9a-f]{{64}}, expected {checksum}", str(error.value))
    assert not left_in(home) and releases.folder("etcd") is None


@pytest.mark.parametrize("content", [b"<html>log in here</html>", b""])
def test_what_is_no_archive_is_refused_by_its_checksum(
    mirror, home, tmp_path, monkeypatch, content
):
    """The page of a hotel's network."""
    use(mirror, tmp_path, monkeypatch, etcd=ETCD)
    mirror.files["etcd.tar.gz"] = content
    releases = Releases(home)
    releases.begin(["etcd"])
    with pytest.raises(LocalError, match="is not what it should be"):
        releases.wait("etcd")
    assert not left_in(home)


def test_what_is_not_reached_is_known_in_two_seconds(mirror, home, tmp_path, monkeypatch, capfd):
    use(mirror, tmp_path, monkeypatch, etcd=ETCD, kubernetes=CONTROL_PLANE)
    monkeypatch.setattr(releases, "ANSWER_SECONDS", downloads.ANSWER_SECONDS)
    mirror.silent.add("kubernetes.tar.gz")
    del mirror.files["etcd.tar.gz"]
    # On a machine that stands still for these two seconds no server answers.
    for _ in range(5):
        found = Releases(home)
        begun = time.monotonic()
        assert found.begin(["etcd", "kubernetes"]) == set()
        # Whoever waits longer waits for the server.
        assert time.monotonic() - begun < SILENT_SECONDS / 4
        assert not found.wait("etcd") and not found.wait("kubernetes")
        said = capfd.readouterr().err
        assert "no answer in 2 s" in said and "etcd v1, kubernetes v1" in said
        if "Not Found" in said:
            break
    assert "Not Found" in said


def test_nobody_listening_is_known_at_once(home, tmp_path, monkeypatch, mirror):
    use(mirror, tmp_path, monkeypatch, etcd=ETCD)
    with held_port("127.0.0.1") as closed:
        address = f"http://127.0.0.1:{closed}"
        pins = (tmp_path / "pins.json").read_text().replace(mirror.address, address)
        (tmp_path / "pins.json").write_text(pins)
        begun = time.monotonic()
        assert Releases(home).begin(["etcd"]) == set()
        assert time.monotonic() - begun < releases.ANSWER_SECONDS / 2


def test_a_download_that_breaks_off_is_tried_again_and_then_given_up(
    mirror, home, tmp_path, monkeypatch, capfd
):
    use(mirror, tmp_path, monkeypatch, kubernetes=CONTROL_PLANE)
    mirror.broken.add("kubernetes.tar.gz")
    releases = Releases(home)
    releases.begin(["kubernetes"])
    assert not releases.wait("kubernetes")
    assert mirror.asked == ["kubernetes.tar.gz"] * 2
    assert "did not come: broke off after" in capfd.readouterr().err
    assert not left_in(home)


def test_an_archive_without_the_program_is_refused(mirror, home, tmp_path, monkeypatch):
    use(mirror, tmp_path, monkeypatch, etcd=("etcd.tar.gz", {"etcd": "bin/etcd"}))
    releases = Releases(home)
    releases.begin(["etcd"])
    with pytest.raises(LocalError, match="it has no bin/etcd"):
        releases.wait("etcd")
    assert not left_in(home)


def test_pins_are_relative_to_their_file_and_remembered(mirror, home, tmp_path, monkeypatch):
    """A later command, of a shell that sets nothing, uses the same programs."""
    (tmp_path / "etcd.tar.gz").write_bytes(mirror.files["etcd.tar.gz"])
    use(mirror, tmp_path, monkeypatch, etcd=ETCD)
    pins = (tmp_path / "pins.json").read_text().replace(f"{mirror.address}/", "")
    (tmp_path / "pins.json").write_text(pins)
    releases = Releases(home)
    assert releases.begin(["etcd"]) == {"etcd"} and releases.wait("etcd")
    monkeypatch.delenv(VARIABLE)
    assert Releases(home).program("etcd").read_bytes() == b"the etcd"
    monkeypatch.setenv(VARIABLE, "none")
    assert Releases(home).program("etcd") is None
    monkeypatch.delenv(VARIABLE)
    assert Releases(home).pinned == {}
    monkeypatch.setenv(VARIABLE, "official")
    assert "kubernetes" in Releases(home).pinned


def test_pins_may_be_named_by_a_url(mirror, home, monkeypatch):
    mirror.files["pins.json"] = mirror.pins({"etcd": ETCD}).encode()
    monkeypatch.setenv(VARIABLE, f"{mirror.address}/pins.json")
    assert str(Releases(home).pinned["etcd"]) == "etcd v1"


NO_CHECKSUM = json.dumps(
    {"etcd": {"archives": {platform.machine(): {"url": "x"}}, "version": "1", "members": {}}}
)


@pytest.mark.parametrize("content", [None, "no JSON", '{"etcd": {}}', "[]", NO_CHECKSUM])
def test_a_file_of_pins_that_cant_be_read_is_named(home, tmp_path, monkeypatch, content):
    pins = tmp_path / "pins.json"
    if content is not None:
        pins.write_text(content)
    monkeypatch.setenv(VARIABLE, str(pins))
    with pytest.raises(LocalError, match=f"DLSTACK_RELEASES is '{pins}'.*'none'"):
        Releases(home).begin(["etcd"])
    monkeypatch.delenv(VARIABLE)
    assert "kubernetes" in Releases(home).pinned, "a mistake is not kept"


class Built(Programs):
    """Programs whose builds are only noted down."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.builds: list[str] = []

    def _build_together(self, programs) -> None:
        self.builds.append(" ".join(program.name for program in programs))
        for program in programs:
            self._built(program).parent.mkdir(parents=True, exist_ok=True)
            self._built(program).write_text("built")


def names(words: list[str | Path]) -> list[str]:
    return [Path(word).name for word in words]


def test_kubernetes_is_released_only_together_with_etcd(mirror, home, tmp_path, monkeypatch):
    use(mirror, tmp_path, monkeypatch, kubernetes=CONTROL_PLANE)
    programs = Built(home)
    programs.make(KUBERNETES)
    assert programs.builds == ["kubernetes"] and mirror.asked == []
    assert names(programs.command("kubelet")) == ["kubernetes", "kubelet"]
    use(mirror, tmp_path, monkeypatch, kubernetes=CONTROL_PLANE, etcd=ETCD)
    programs = Built(home)
    programs.make(KUBERNETES)
    assert programs.builds == [], "What was built once stays in use."
    programs.path(KUBERNETES).unlink()
    programs.make(KUBERNETES)
    assert programs.builds == []
    assert names(programs.command("kubelet")) == ["kubelet"]
    assert names(programs.command("etcd")) == ["etcd"]


def test_what_did_not_come_is_built(mirror, home, tmp_path, monkeypatch):
    use(mirror, tmp_path, monkeypatch, kubernetes=CONTROL_PLANE, etcd=ETCD)
    mirror.broken.add("kubernetes.tar.gz")
    programs = Built(home)
    programs.make(COREDNS, KUBERNETES)
    assert " ".join(programs.builds) == "coredns kubernetes"


def test_programs_of_one_module_are_built_together(home, monkeypatch):
    monkeypatch.setenv(VARIABLE, "none")
    programs = Built(home)
    programs.make(COREDNS, PULUMI_PYTHON, KUBERNETES)
    assert programs.builds == ["coredns kubernetes", "pulumi-language-python"]


def test_the_official_pins_are_whole_and_the_documentation_has_their_versions():
    architecture = (REPOSITORY / "docs" / "architecture.md").read_text()
    replaced: set[str] = set()
    for program in (KUBERNETES, COREDNS, PULUMI):
        assert isinstance(program, Program)
        replaced.update(program.releases)
    pins = json.loads(OFFICIAL.read_text())
    assert pins.keys() == replaced
    for name, pin in pins.items():
        assert pin["archives"].keys() == {"x86_64", "aarch64"}, name
        assert pin["version"] in architecture, f"{name} {pin['version']}"
        for one in pin["archives"].values():
            assert one["url"].startswith("https://") and pin["version"] in one["url"]
            digits = one.get("sha256") or one["sha512"]
            assert re.fullmatch(r"[0-9a-f]+", digits)
            assert len(digits) == (64 if "sha256" in one else 128)
