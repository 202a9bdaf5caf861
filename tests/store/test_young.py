"""What is put again and again while something relies on it."""

import threading
from pathlib import Path

import pytest

from store import folders, young
from store.client import Client
from store.errors import Unreachable
from store.folders import LocalFile
from store.objects import delete, list_objects
from store.urls import S3Url
from store.young import kept_young
from tests.store.test_folders import CONTENTS, local
from tests.waiting import eventually


def test_it_is_put_again_as_long_as_the_block_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(young, "_AGAIN_SECONDS", 0.01)
    put: list[threading.Thread] = []

    def away_for_a_while() -> None:
        put.append(threading.current_thread())
        if len(put) in (2, 3):
            raise Unreachable("away")

    with kept_young(away_for_a_while) as is_young:
        # Before the block begins. The other thread may have done so again by now.
        assert put[0] is threading.current_thread()
        eventually(lambda: len(put) > 5)
        assert is_young()
    eventually(lambda: "kept-young" not in {one.name for one in threading.enumerate()})


def test_who_stood_still_for_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept: meanwhile anybody may have taken away what is old."""
    now = [0.0]
    monkeypatch.setattr(young.time, "time", lambda: now[0])
    with kept_young(lambda: None) as is_young:
        now[0] += 3600 * 23
        assert is_young()
        now[0] += 3600 * 2
        assert not is_young()
        now[0] -= 3600 * 3
        assert not is_young()


def test_what_was_taken_away_from_a_machine_that_slept_is_sent_again(
    client: Client, bucket: S3Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = local(tmp_path, CONTENTS)
    answers = [True, False]
    put_young = young.kept_young

    def slept(put: object) -> object:
        def is_young() -> bool:
            if answers.pop():
                return True
            for entry in list(list_objects(client, bucket)):
                delete(client, bucket / entry.path)
            return False

        class Context:
            def __enter__(self) -> object:
                self.inner = put_young(put)  # type: ignore[arg-type]
                self.inner.__enter__()
                return is_young

            def __exit__(self, *error: object) -> None:
                self.inner.__exit__(None, None, None)

        return Context()

    monkeypatch.setattr(folders, "kept_young", slept)
    said: list[str] = []
    url = folders.put(client, bucket.bucket, files, tell=said.append)
    assert folders.is_complete(client, url) and not answers
    assert said == ["This machine stood still for long: looking again whether all of it is there"]


def test_what_is_known_is_asked_for_when_nobody_takes_it_away(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    """What an earlier folder has there may have been taken away a moment before."""
    files: list[LocalFile] = local(tmp_path, CONTENTS)
    there: list[int] = []

    def known() -> set[str]:
        there.append(len(list(list_objects(client, bucket))))
        return set()

    folders.put(client, bucket.bucket, files, known)
    assert there == [1]
