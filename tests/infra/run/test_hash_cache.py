"""Checksums from the last time: when they are taken, and when a file is read again."""

import os
import time
from pathlib import Path

import pytest

from infra.run import checksums, hash_cache
from infra.run.hash_cache import HashCache
from tests.waiting import eventually

LONG_AGO = 1_600_000_000


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches lie, and of small folders, too."""
    monkeypatch.setattr(hash_cache, "_LEAST_FILES", 1)
    # Of the entry's own time, which nobody can set.
    monkeypatch.setattr(hash_cache, "_SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(hash_cache, "_caches", lambda: tmp_path / "caches")
    return tmp_path / "caches" / "dlstack" / "checksums"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "data"
    (here / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (here / name).write_text(f"content of {name}")
    (here / "large").write_bytes(os.urandom(2**20 + 1))
    return here


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    read = checksums._open

    def noted(path: str) -> object:
        names.append(os.path.basename(path))
        return read(path)

    monkeypatch.setattr(checksums, "_open", noted)
    return names


def test_what_has_not_changed_is_not_read_again(folder: Path, opened: list[str]) -> None:
    first = checksums.data(folder, "x")
    assert sorted(set(opened)) == ["a", "b", "large"]
    opened.clear()
    assert checksums.data(folder, "x") == first
    assert opened == []


def await_a_tick(probe: Path) -> None:
    """Return when what changes now has another time of change than what changed before."""

    def changed() -> int:
        probe.touch()
        return probe.stat().st_ctime_ns

    before = changed()
    eventually(lambda: changed() != before)


@pytest.mark.parametrize("how", ["longer", "of the same size and time", "another file"])
def test_what_has_changed_is_read_again(
    folder: Path, opened: list[str], tmp_path: Path, how: str
) -> None:
    os.utime(folder / "a", (LONG_AGO, LONG_AGO))
    first = checksums.data(folder, "x")
    opened.clear()
    await_a_tick(tmp_path / "probe")
    if how == "longer":
        with (folder / "a").open("a") as file:
            file.write("!")
    elif how == "another file":
        (folder / "new").write_text("Content of a")
        os.replace(folder / "new", folder / "a")
    else:
        (folder / "a").write_text("Content of a")
    os.utime(folder / "a", (LONG_AGO, LONG_AGO))
    found = checksums.data(folder, "x")
    assert opened == ["a"]
    assert found["a"] != first["a"] and found["deep/b"] == first["deep/b"]


def test_what_was_written_just_now_is_read_again(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change within one tick of the file system's clock would not be seen."""
    monkeypatch.setattr(hash_cache, "_SETTLED_SECONDS", 3600.0)
    checksums.data(folder, "x")
    opened.clear()
    checksums.data(folder, "x")
    assert sorted(set(opened)) == ["a", "b", "large"]


def test_what_is_written_while_it_is_read_is_read_again(folder: Path, caches: Path) -> None:
    cache = HashCache(folder, "data")
    stamp = hash_cache.stamp_of(str(folder / "a"))
    (folder / "a").write_text("changed meanwhile")
    cache.note("a", str(folder / "a"), stamp, "0" * 64)
    cache.save(is_whole=True)
    assert HashCache(folder, "data").find("a", stamp) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-9],
        lambda content: content.replace(b"1", b"2"),
        lambda content: content.replace(b"deep", b"peed"),
        lambda content: os.urandom(1000),
        lambda content: b"dlstack checksums 0\n" + content.partition(b"\n")[2],
    ],
    ids=["empty", "cut short", "changed", "renamed", "noise", "another form"],
)
def test_a_damaged_cache_costs_time_only(
    folder: Path, caches: Path, opened: list[str], damage: object
) -> None:
    first = checksums.data(folder, "x")
    [file] = caches.iterdir()
    assert callable(damage)
    file.write_bytes(damage(file.read_bytes()))
    opened.clear()
    assert checksums.data(folder, "x") == first
    assert sorted(set(opened)) == ["a", "b", "large"]
    opened.clear()
    assert checksums.data(folder, "x") == first and not opened


def test_the_cache_of_another_folder_or_machine_is_not_taken(
    folder: Path, caches: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checksums.data(folder, "x")
    [file] = caches.iterdir()
    monkeypatch.setattr(hash_cache.platform, "node", lambda: "another")
    opened.clear()
    checksums.data(folder, "x")
    assert opened
    [other] = set(caches.iterdir()) - {file}
    # Even under the name of the other one.
    os.replace(file, other)
    opened.clear()
    checksums.data(folder, "x")
    assert opened


def test_names_with_odd_characters_are_known_again(folder: Path, opened: list[str]) -> None:
    for name in ("trail ", 'a "b" ', "ä", "日本", '"', "a\u2028b"):
        (folder / name).touch()
    first = checksums.data(folder, "x")
    opened.clear()
    assert checksums.data(folder, "x") == first and not opened


def test_where_nothing_can_be_kept_all_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(hash_cache, "_caches", lambda: tmp_path / "file")
    assert checksums.data(folder, "x") == checksums.data(folder, "x")


def test_code_and_data_have_checksums_of_their_own(folder: Path) -> None:
    (folder / "a").write_bytes(b"one\r\ntwo\r\n")
    for _ in range(2):
        assert checksums.code(folder, "x")["a"] != checksums.data(folder, "x")["a"]


def test_a_model_that_has_not_changed_is_not_read_again(folder: Path, opened: list[str]) -> None:
    first = checksums.of(folder, ["a", "large"])
    assert first == {path: checksums.data(folder, "x")[path] for path in first}
    opened.clear()
    assert checksums.of(folder, ["a", "large"]) == first and not opened


def test_what_was_read_before_an_interruption_stays_known(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "_large", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checksums.data(folder, "x")
    opened.clear()
    checksums.data(folder, "x")
    assert set(opened) == {"large"}


def test_small_folders_leave_no_cache(
    folder: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_cache, "_LEAST_FILES", 500)
    checksums.data(folder, "x")
    assert not caches.exists()


def test_an_unchanged_folder_costs_no_writing(folder: Path, caches: Path) -> None:
    checksums.data(folder, "x")
    [file] = caches.iterdir()
    before = file.stat().st_mtime_ns
    time.sleep(0.02)
    checksums.data(folder, "x")
    assert file.stat().st_mtime_ns == before
