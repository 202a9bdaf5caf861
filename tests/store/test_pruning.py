"""What can go of a stack's buckets, and above all what can't, in a real store.

What a stack needs by what the cluster and the state say: tests/infra/commands/test_prune.py.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from store import buckets, contents, folders, prune_mark, pruning
from store.client import Client
from store.errors import StoreError
from store.folders import LocalFile
from store.models import Manifest, intact
from store.objects import delete, delete_many, list_objects, write
from store.pruning import Needed, Unneeded
from store.urls import S3Url
from tests.store.test_models import put_version

#: Nothing that a test puts is young then.
LATER = datetime.now(UTC) + timedelta(days=3)


class Stack:
    """Two buckets, and what lies in them."""

    def __init__(self, client: Client, output: S3Url, data: S3Url, place: Path) -> None:
        self.client, self.output, self.data, self._place = client, output, data, place

    def folder(self, **contents: str) -> str:
        files = []
        for name, text in contents.items():
            file = self._place / hashlib.sha256(text.encode()).hexdigest()
            file.write_text(text)
            files.append(LocalFile(name, len(text), file.name, file))
        return folders.put(self.client, self.data.bucket, files).prefix.rpartition("/")[2]

    def publish(self, number: int, run: str, model: str = "m", **made_of: str) -> None:
        """A version, and the run that made it. `made_of`: names of folders."""
        told = {f"{part}_sha256": name for part, name in made_of.items()}
        url = self.output / f"models/{model}"
        put_version(self.client, url, number, run, provenance=told)
        write(self.client, url / f"{number}/.claim", b"{}")
        self.run(run, **made_of)

    def run(self, run: str, **made_of: str) -> None:
        """What a run leaves, whether it publishes or not."""
        told = {f"{part}_sha256": name for part, name in made_of.items()}
        url = self.output / f"runs/{run[:12]}"
        write(self.client, url / "run.json", json.dumps({"provenance": told}).encode())
        write(self.client, url / "checkpoints/weights", b"w" * 100)

    def look(self, keep: int, now: datetime = LATER, **more: Any) -> Unneeded:
        needed = more.pop("needed", Needed())
        return pruning.look(
            self.client,
            output_bucket=self.output.bucket,
            data_bucket=self.data.bucket,
            keep=keep,
            needed=needed,
            now=now,
            **more,
        )

    def prune(self, keep: int, **more: Any) -> Unneeded:
        with prune_mark.held(self.client, self.data.bucket) as turn:
            found = self.look(keep, **more)
            pruning.delete(self.client, found, turn)
        return found

    def numbers(self, model: str = "m") -> list[int]:
        return [one.number for one, _ in intact(self.client, self.output / f"models/{model}")]

    def there(self) -> set[str]:
        return {
            entry.path
            for url in (self.output, self.data)
            for entry in list_objects(self.client, url)
        }

    def is_whole(self, name: str) -> bool:
        return folders.is_complete(self.client, folders.index(self.data.bucket, name))


@pytest.fixture
def stack(client: Client, bucket: S3Url, tmp_path: Path) -> Iterator[Stack]:
    data = S3Url(f"test-{uuid4().hex[:12]}")
    buckets.create(client, data.bucket)
    place = tmp_path / "place"
    place.mkdir()
    yield Stack(client, bucket, data, place)
    delete_many(client, data.bucket, [entry.path for entry in list_objects(client, data)])
    buckets.delete(client, data.bucket)


def run(number: int) -> str:
    return f"{number:064x}"[::-1]


def names(unneeded: Unneeded) -> dict[str, list[str]]:
    return {
        kind: [one.name for one in getattr(unneeded, kind)]
        for kind in ("versions", "runs", "folders")
    }


def test_the_newest_stay_with_all_that_they_need_and_the_rest_goes(stack: Stack) -> None:
    shared = stack.folder(data="shared by all")
    code = {number: stack.folder(same="same", own=f"own {number}") for number in range(1, 5)}
    for number in range(1, 5):
        stack.publish(number, run(number), code=code[number], data=shared)
    before = stack.there()
    found = stack.look(2)
    assert names(found) == {
        "versions": ["m 2", "m 1"],
        "runs": sorted([run(1)[:12], run(2)[:12]]),
        "folders": sorted([code[1][:12], code[2][:12]]),
    }
    assert found.stays == {"m": [4, 3]} and not found.unsure
    assert [len(one.keys) for one in found.contents] == [2]
    assert stack.there() == before
    assert found.size == sum(one.size for one in found.all) > 400
    stack.prune(2)
    assert stack.numbers() == [4, 3]
    assert all(map(stack.is_whole, (shared, code[3], code[4])))
    gone = before - stack.there()
    assert gone == {
        *(
            f"models/m/{number}/{path}"
            for number in (1, 2)
            for path in ("saved_model.pb", "variables/weights", "manifest.json", ".claim")
        ),
        *(
            f"runs/{run(number)[:12]}/{path}"
            for number in (1, 2)
            for path in ("run.json", "checkpoints/weights")
        ),
        *(f"folders/{code[number]}" for number in (1, 2)),
        *(f"blobs/{hashlib.sha256(f'own {number}'.encode()).hexdigest()}" for number in (1, 2)),
    }
    assert not stack.look(2).all


def test_with_fewer_versions_than_are_to_stay_nothing_goes(stack: Stack) -> None:
    for number in (1, 2):
        stack.publish(number, run(number), code=stack.folder(own=str(number)))
    assert not stack.look(2).all and not stack.look(9).all
    with pytest.raises(ValueError, match="at least one"):
        stack.look(0)


@pytest.mark.parametrize(
    "needed",
    [
        Needed(versions=frozenset({("m", 1)})),
        Needed(runs=frozenset({run(1)[:12]})),
        Needed(identities=frozenset({"copied"})),
    ],
    ids=["serves", "has a job", "was copied"],
)
def test_what_is_needed_stays_however_old_it_is(stack: Stack, needed: Needed) -> None:
    code = stack.folder(own="one")
    stack.publish(1, run(1), code=code)
    put_version(
        stack.client,
        stack.output / "models/m",
        1,
        run(1),
        origin={"identity": "copied"},
        provenance={"code_sha256": code},
    )
    for number in (2, 3):
        stack.publish(number, run(number))
    found = stack.prune(1, needed=needed)
    assert names(found)["versions"] == ["m 2"]
    assert stack.numbers() == [3, 1] and stack.is_whole(code)
    assert f"runs/{run(1)[:12]}/checkpoints/weights" in stack.there()


def test_what_a_job_reads_and_the_next_one_will_stays(stack: Stack) -> None:
    read, other = stack.folder(own="read"), stack.folder(own="other")
    stack.publish(1, run(1))
    found = stack.prune(1, needed=Needed(folders=frozenset({read})))
    assert names(found)["folders"] == [other[:12]]
    assert stack.is_whole(read) and not stack.is_whole(other)


def test_what_was_uploaded_a_short_time_ago_stays(stack: Stack) -> None:
    """Its Job is not there yet."""
    young = stack.folder(own="young")
    stack.publish(1, run(1))
    assert not stack.look(1, now=datetime.now(UTC) + timedelta(hours=40)).all
    assert names(stack.look(1))["folders"] == [young[:12]]


def test_one_run_may_have_published_several_versions(stack: Stack) -> None:
    for number in (1, 2, 3):
        stack.publish(number, run(7), code=stack.folder(own="the same"))
    found = stack.prune(1)
    assert names(found) == {"versions": ["m 2", "m 1"], "runs": [], "folders": []}


def test_of_runs_that_published_nothing_the_newest_stay(stack: Stack) -> None:
    """The next `up` may go on from their checkpoints."""
    code = stack.folder(own="of a failed run")
    stack.publish(1, run(1))
    stack.run(run(10))
    write(stack.client, stack.output / "runs/mine/notes.txt", b"somebody's")
    prune_later(stack, run(11), code)
    found = stack.prune(1)
    assert names(found) == {"versions": [], "runs": [run(10)[:12]], "folders": []}
    assert found.runs[0].detail == "published nothing"
    assert stack.is_whole(code) and "runs/mine/notes.txt" in stack.there()


def prune_later(stack: Stack, hash_: str, code: str) -> None:
    """Put a run when the store's clock shows another second."""
    threading.Event().wait(1.1)
    stack.run(hash_, code=code)


def test_a_run_with_a_job_stays(stack: Stack) -> None:
    stack.publish(1, run(1))
    for number in (10, 11, 12):
        stack.run(run(number))
    needed = Needed(runs=frozenset(run(number)[:12] for number in (10, 11, 12)))
    assert not stack.look(1, needed=needed).all


class TestWhatCanNotBeTold:
    def test_a_damaged_version_among_the_newest_keeps_what_it_may_need(self, stack: Stack) -> None:
        code = stack.folder(own="of the damaged one")
        for number in (1, 2, 3):
            stack.publish(
                number, run(number), code=code if number == 3 else stack.folder(n=str(number))
            )
        delete(stack.client, stack.output / "models/m/3/saved_model.pb")
        found = stack.prune(1)
        # The newest intact one stays beside it.
        assert names(found) == {"versions": ["m 1"], "runs": [], "folders": []}
        assert "models/m/3' is damaged" in found.unsure[0]
        assert not found.contents and stack.is_whole(code)

    def test_a_damaged_version_does_not_count_and_goes_when_it_is_old(self, stack: Stack) -> None:
        for number in (1, 2, 3):
            stack.publish(number, run(number))
        write(stack.client, stack.output / "models/m/2/manifest.json", b"?")
        assert names(stack.look(2))["versions"] == []
        stack.publish(4, run(4))
        assert names(stack.look(2))["versions"] == ["m 2", "m 1"]
        assert stack.look(2).versions[0].detail == "damaged"

    def test_a_damaged_index_keeps_all_contents(self, stack: Stack) -> None:
        code = stack.folder(own="of it")
        stack.folder(own="unneeded")
        stack.publish(1, run(1), code=code)
        write(stack.client, folders.index(stack.data.bucket, code), b"?")
        found = stack.prune(1)
        assert not found.contents and "is not what its name says" in found.unsure[0]
        assert sum(key.startswith("blobs/") for key in stack.there()) == 2

    def test_what_is_not_named_as_ours_stays(self, stack: Stack) -> None:
        stack.publish(1, run(1))
        for key in ("blobs/notes", "folders/mine", "other"):
            write(stack.client, stack.data / key, b"x")
        for key in ("models/m/notes", "models/m/01/x", "models/README", "runs/x", "mine/1"):
            write(stack.client, stack.output / key, b"x")
        assert not stack.look(1).all

    def test_numbers_that_were_claimed(self, stack: Stack) -> None:
        """Below the versions that stay they are of a run that was killed, or still publishes."""
        for number in (1, 3, 4, 6):
            stack.publish(number, run(number))
        for number in (2, 5, 7):
            write(stack.client, stack.output / f"models/m/{number}/.claim", b"{}")
        assert names(stack.look(2))["versions"] == ["m 2", "m 3", "m 1"]
        training = stack.look(2, needed=Needed(trains=True))
        assert names(training)["versions"] == ["m 3", "m 1"]
        recent = stack.look(2, now=datetime.now(UTC))
        assert names(recent)["versions"] == ["m 3", "m 1"]


def test_of_one_model_only(stack: Stack) -> None:
    for number in (1, 2):
        stack.publish(number, run(number), model="a")
        stack.publish(number, run(10 + number), model="b")
    stack.run(run(20))
    stack.run(run(21))
    found = stack.prune(1, model="a")
    assert names(found) == {"versions": ["a 1"], "runs": [run(1)[:12]], "folders": []}
    assert stack.numbers("b") == [2, 1]


def test_a_version_is_none_from_the_first_object_that_goes(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short, nothing half deleted looks like a version, and the next one takes the rest."""
    for number in (1, 2):
        stack.publish(number, run(number))
    deleted = pruning.delete_many

    def one(client: Client, bucket: str, keys: Any) -> None:
        deleted(client, bucket, keys[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "delete_many", one)
    with pytest.raises(KeyboardInterrupt):
        stack.prune(1)
    monkeypatch.undo()
    assert stack.numbers() == [2]
    assert not any(isinstance(one, Manifest) for one in stack.look(1).unsure)
    assert names(stack.prune(1))["versions"] == ["m 1"]
    assert not any(key.startswith("models/m/1/") for key in stack.there())


class TestAGivenBucket:
    """Somebody else has made it, keeps things in it, and may have lent it to another stack before.

    Symptom of all: what others had put under such keys was deleted.
    """

    @staticmethod
    def given(stack: Stack, since: datetime) -> dict[str, datetime]:
        return dict.fromkeys((stack.output.bucket, stack.data.bucket), since)

    @pytest.fixture
    def since(self) -> datetime:
        """When the stack began to use the buckets; the store's clock shows whole seconds."""
        return datetime.now(UTC) - timedelta(seconds=2)

    def test_what_the_stack_has_put_there_goes_as_in_its_own(
        self, stack: Stack, since: datetime
    ) -> None:
        for number in (1, 2):
            code = stack.folder(own=f"own {number}")
            stack.publish(number, run(number), code=code)
            record = json.dumps({"run_hash": run(number)}).encode()
            write(stack.client, stack.output / f"runs/{run(number)[:12]}/run.json", record)
        found = stack.prune(1, given=self.given(stack, since))
        assert [len(one) for one in (found.versions, found.runs, found.folders)] == [1, 1, 1]
        assert [len(one.keys) for one in found.contents] == [1]
        assert stack.numbers() == [2]

    def test_what_others_have_put_under_such_keys_stays(
        self, stack: Stack, since: datetime
    ) -> None:
        """Images by their SHA-256, folders called after numbers, and models without a word."""
        stack.publish(2, run(2))
        theirs = {
            stack.data / f"blobs/{'a' * 64}": b"a layer of an image",
            stack.data / f"folders/{'b' * 64}": b"no index",
            stack.output / "runs/0123456789ab/notes.txt": b"of another tool",
            stack.output / "runs/ba9876543210/run.json": b'{"run_hash": 7}',
            stack.output / "models/m/1/saved_model.pb": b"a model",
        }
        for url, content in theirs.items():
            write(stack.client, url, content)
        # With a manifest it would be one that was published, if there were a claim.
        put_version(stack.client, stack.output / "models/m", 3, run(3))
        stack.publish(4, run(4))
        found = stack.prune(1, given=self.given(stack, since))
        assert names(found)["versions"] == ["m 2"] and not found.contents and not found.unsure
        assert found.reasons[("m", 3)] == pruning.NOT_OURS
        assert {url.prefix for url in theirs} <= stack.there()

    def test_what_was_there_before_this_stack_stays(self, stack: Stack) -> None:
        """Of a stack that has given the buckets back."""
        for number in (1, 2):
            stack.publish(number, run(number), code=stack.folder(own=f"own {number}"))
        stack.folder(own="of nobody")
        later = datetime.now(UTC) + timedelta(seconds=2)
        found = stack.look(1, given=self.given(stack, later))
        assert not found.all and found.stays == {"m": [2, 1]}
        assert found.reasons == {("m", 1): pruning.WAS_THERE}
        assert stack.look(1).all

    def test_what_was_there_before_keeps_what_this_stack_has_put_again(self, stack: Stack) -> None:
        """A version of before needs code that is the next `up`'s as well, and is held by it."""
        code = stack.folder(own="of both")
        stack.publish(1, run(1), code=code)
        threading.Event().wait(2.1)
        since = datetime.now(UTC) - timedelta(seconds=1)
        stack.folder(own="of both")
        stack.publish(2, run(2))
        assert not stack.prune(1, given=self.given(stack, since)).all
        assert stack.is_whole(code)


def test_a_number_that_nobody_claimed_is_none_of_ours(stack: Stack) -> None:
    """Symptom: versions of a team's own, as TensorFlow Serving reads them, were 'never published'
    and deleted."""
    write(stack.client, stack.output / "models/m/1/saved_model.pb", b"theirs")
    for number in (2, 3):
        stack.publish(number, run(number))
    assert names(stack.look(1))["versions"] == ["m 2"]


class TestUploadsThatWereCutShort:
    """Symptom: parts that no list shows took room, and cost, until `destroy`."""

    KEYS = (f"blobs/{'a' * 64}", "models/m/1/variables/weights", f"runs/{'b' * 12}/log.txt")

    @pytest.fixture
    def unfinished(self, stack: Stack) -> list[str]:
        for key in (*self.KEYS, "theirs/large", "models/readme", "blobs/large"):
            place = {"Bucket": stack.output.bucket, "Key": key}
            upload = stack.client.s3.create_multipart_upload(**place)["UploadId"]
            stack.client.s3.upload_part(
                **place, UploadId=upload, PartNumber=1, Body=bytes(5 * 2**20)
            )
        return []

    def left(self, stack: Stack) -> set[str]:
        return {one.key for one in contents.unfinished(stack.client, stack.output.bucket)}

    def test_those_of_ours_go(self, stack: Stack, unfinished: list[str]) -> None:
        assert not stack.look(1, now=datetime.now(UTC) + timedelta(hours=40)).uploads
        found = stack.prune(1)
        assert {one.upload.key for one in found.uploads} == set(self.KEYS)
        assert found.size == len(self.KEYS) * 5 * 2**20
        assert self.left(stack) == {"theirs/large", "models/readme", "blobs/large"}
        assert not stack.look(1).uploads

    def test_one_that_goes_on_stays_however_long_ago_it_began(
        self, stack: Stack, unfinished: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recent = LATER - timedelta(hours=1)
        monkeypatch.setattr(contents, "arrived", lambda *_: contents.Arrived(recent, recent, 5))
        assert not stack.look(1).uploads

    def test_in_a_given_bucket_only_those_beside_what_dlstack_has_put_there(
        self, stack: Stack, unfinished: list[str]
    ) -> None:
        since = datetime.now(UTC) - timedelta(minutes=1)
        given = {stack.output.bucket: since}
        assert [one.upload.key for one in stack.look(1, given=given).uploads] == [self.KEYS[0]]
        write(stack.client, stack.output / "models/m/1/.claim", b"{}")
        write(stack.client, stack.output / f"runs/{'b' * 12}/run.json", b"{}")
        assert len(stack.look(1, given=given).uploads) == 3
        before = {stack.output.bucket: datetime.now(UTC) + timedelta(seconds=2)}
        assert not stack.look(1, given=before).uploads


class TestAnUploadMeanwhile:
    def test_it_waits_and_loses_nothing(self, stack: Stack) -> None:
        """It relies on a content that is about to go."""
        stack.folder(own="wanted again")
        stack.publish(1, run(1))
        told: list[str] = []
        made: list[str] = []

        def upload() -> None:
            text = "wanted again"
            file = stack._place / hashlib.sha256(text.encode()).hexdigest()
            files = [LocalFile("n", len(text), file.name, file)]
            made.append(
                folders.put(stack.client, stack.data.bucket, files, tell=told.append).prefix
            )

        with prune_mark.held(stack.client, stack.data.bucket) as turn:
            found = stack.look(1)
            assert found.contents
            uploading = threading.Thread(target=upload)
            uploading.start()
            while not told:
                threading.Event().wait(0.05)
            pruning.delete(stack.client, found, turn)
        uploading.join()
        assert "Waiting for 'python -m infra prune'" in told[0]
        assert stack.is_whole(made[0].rpartition("/")[2])

    def test_one_prunes_at_a_time(self, stack: Stack) -> None:
        with (
            prune_mark.held(stack.client, stack.data.bucket),
            pytest.raises(StoreError, match="Somebody else deletes"),
            prune_mark.held(stack.client, stack.data.bucket),
        ):
            pass
        with prune_mark.held(stack.client, stack.data.bucket):
            pass

    def test_the_mark_of_a_killed_process_counts_for_a_while_only(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(stack.client, stack.data / prune_mark.KEY, b"")
        monkeypatch.setattr(prune_mark, "_MOST_SECONDS", 0.0)
        with pytest.raises(StoreError, match="at work in the bucket .* or delete the object"):
            stack.folder(own="x")
        monkeypatch.setattr(prune_mark, "_LEFT_BEHIND", timedelta(0))
        assert stack.is_whole(stack.folder(own="x"))
        assert not any(prune_mark.KEY in key for key in stack.there())

    def test_whoever_looks_for_long_says_so(self, stack: Stack) -> None:
        """Symptom: with thousands of versions nothing was ever deleted: it 'stood still'."""
        for number in range(1, 5):
            stack.publish(number, run(number), code=stack.folder(n=str(number)))
        said: list[int] = []
        stack.look(4, goes_on=lambda: said.append(1))
        # For each model, run and index.
        assert len(said) == 1 + 4 + 4

    def test_whoever_stood_still_deletes_nothing_more(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in (1, 2):
            stack.publish(number, run(number))
        monkeypatch.setattr(prune_mark, "_MOST_SECONDS", -1.0)
        with pytest.raises(StoreError, match="Nothing more is deleted: this process stood still"):
            stack.prune(1)
        assert stack.numbers() == [2, 1]
